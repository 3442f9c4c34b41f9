package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

const productsUsage = `usage: cardlake products COMMAND [flags] [arguments]

What is offered of the lake: who answers for it, what is in it, and who may have it.

  list                  the products
  show NAME             all of one: terms, columns, words, how fresh and good it is, a sample
  subscribe NAME        ask for one, with a -reason
  subscriptions         one's own, and those to one's products
  requests              those that wait for a decision
  approve ID            give what was asked for; never by who asked
  reject ID             refuse it
  revoke ID             end it, or take one's request back
  publish NAME          offer a draft; also deprecate and withdraw
  sync                  write what subscriptions give into the grants, as approve and revoke do
  export                make the products known in AWS DataZone
  init                  make a few products to begin with

"cardlake products COMMAND -h" lists a command's flags.
`

// productsCommand is "cardlake products".
func productsCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"list": productsList, "show": productsShow, "subscribe": productsSubscribe, "init": productsInit, "sync": productsSync, "export": productsExport,
		"subscriptions": subscriptionsList("subscriptions", ""), "requests": subscriptionsList("requests", products.Requested),
		"approve": subscriptionDecide("approve", "Gives what was asked for, within the product's terms. The owner of the product or a steward may, who did not ask for it.", (*products.Desk).Approve),
		"reject":  subscriptionDecide("reject", "Refuses what was asked for. The owner of the product or a steward may.", (*products.Desk).Reject),
		"revoke":  subscriptionDecide("revoke", "Ends a subscription, or takes a request back. The subscriber may, the owner of the product, a steward, and who may grant.", (*products.Desk).Revoke),
		"publish": productsStatus("publish", products.Published), "deprecate": productsStatus("deprecate", products.Deprecated), "withdraw": productsStatus("withdraw", products.Withdrawn),
	}
	if len(args) == 0 {
		fmt.Fprint(stderr, productsUsage)
		return errUsage
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		fmt.Fprint(stdout, productsUsage)
		return nil
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "cardlake products: there is no command %q\n\n%s", args[0], productsUsage)
		return errUsage
	}
	return command(ctx, args[1:], stdout, stderr)
}

func productsInit(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("products init", "", "Makes a few products to begin with: transactions, approvals, merchants, chargebacks.", stderr)
	dir := fs.String("dir", home.Default(), "`folder` of the lake; default $CARDLAKE_DIR or cardlake-data")
	folder := fs.String("products", "", "`folder` of the products; default products in -dir")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	at := cmp.Or(*folder, serving.ProductsDir(home.Dir(*dir)))
	if err := products.Init(at); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Made products in %s. Put them under version control, and name their owners.\n", at)
	return nil
}

// withDesk parses the flags and arguments of a command, of which check may find fault with what
// they say, and calls do with an open desk.
func withDesk(ctx context.Context, fs *flag.FlagSet, p *productsPlace, args []string, want int, check func() error, do func(*openDesk) error) (err error) {
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != want {
		return misused(fs, "takes %d arguments, got %d", want, fs.NArg())
	}
	if err := errors.Join(check(), p.complete()); err != nil {
		return misused(fs, "%v", err)
	}
	d, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return do(d)
}

// anything finds no fault.
func anything() error { return nil }

// formatFlag adds the flag of how rows are written. check finds the format that is named.
func formatFlag(fs *flag.FlagSet) (format *render.Format, check func() error) {
	name := fs.String("format", "table", "how rows are written: "+strings.Join(render.Names(), ", "))
	format = new(render.Format)
	return format, func() (err error) {
		*format, err = render.ByName(*name)
		return err
	}
}

func productsList(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("products list", "", "Lists the products that -as is told of.", stderr)
	var p productsPlace
	p.define(fs)
	format, check := formatFlag(fs)
	return withDesk(ctx, fs, &p, args, 0, check, func(d *openDesk) error {
		list, err := d.List(ctx, p.door.caller)
		if err != nil {
			return err
		}
		var out listing
		out.strings("product", "version", "status", "owner", "made_of", "title")
		for _, one := range list {
			out.row(one.Name, one.Version, string(one.Status), one.Owner, strings.Join(one.Relations, ", "), one.Title)
		}
		return (*format)(ctx, stdout, &out)
	})
}

const showAbout = `Tells all of a product. The sample is of rows that -as may read, as they are given; whoever may
read none sees made-up ones.`

// maxSample bounds a sample's rows.
const maxSample = 20

func productsShow(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("products show", "NAME", showAbout, stderr)
	var p productsPlace
	p.define(fs)
	sample := fs.Int("sample", 0, "`rows` of each table and view to show")
	isJSON := fs.Bool("json", false, "write the product as JSON, without a sample")
	check := func() error {
		if *sample < 0 || *sample > maxSample {
			return fmt.Errorf("-sample is up to %d rows", maxSample)
		}
		return nil
	}
	return withDesk(ctx, fs, &p, args, 1, check, func(d *openDesk) error {
		card, err := d.Product(ctx, p.door.caller, fs.Arg(0))
		if err != nil {
			return err
		}
		if *isJSON {
			enc := json.NewEncoder(stdout)
			enc.SetIndent("", "  ")
			return enc.Encode(card)
		}
		writeCard(stdout, card)
		for _, r := range card.Schema {
			var out listing
			fmt.Fprintf(stdout, "\n%s: %s\n", r.Name, r.Doc)
			out.strings("column", "type", "tag", "about")
			for _, c := range r.Columns {
				out.row(c.Name, c.Type, string(c.Tag), c.Doc)
			}
			if err := renderTable(ctx, stdout, &out); err != nil {
				return err
			}
			if *sample > 0 {
				if err := d.sample(ctx, stdout, p.door, r, *sample); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func renderTable(ctx context.Context, w io.Writer, rows queries.Rows) error {
	format, err := render.ByName("table")
	if err != nil {
		return err
	}
	return format(ctx, w, rows)
}

func writeCard(w io.Writer, c *products.Card) {
	p := c.Product
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-12s %s\n", name, text)
		}
	}
	fmt.Fprintf(w, "%s %s (%s): %s\n%s\n\n", p.Name, p.Version, p.Status, p.Title, p.Description)
	line("owner", p.Owner)
	line("stewards", strings.Join(p.Stewards, ", "))
	line("instead", p.Instead)
	line("labels", strings.Join(p.Labels, ", "))
	t := p.Terms
	line("gives", fmt.Sprintf("of %s the columns tagged %s", strings.Join(t.Tables, ", "), texts(t.Clear)))
	line("masked", texts(t.Masked))
	line("to", cmp.Or(texts(t.Kinds), "data scientists, jobs and tenants"))
	line("for", fmt.Sprintf("up to %d days", cmp.Or(t.Days, products.DefaultDays)))
	line("tenants", cmp.Or(texts(t.Tenants), "all for which the policies let one subscribe"))
	promise := func(kept *bool) string {
		switch {
		case kept == nil:
			return "not known"
		case *kept:
			return "kept"
		}
		return "NOT KEPT"
	}
	if p.Promise.Fresh != "" {
		text := "at most " + p.Promise.Fresh + " old: " + promise(c.Health.IsFresh)
		if c.Health.AsOf != nil {
			text += ", as of " + instant(*c.Health.AsOf, time.RFC3339)
		}
		line("fresh", text)
	}
	if p.Promise.Quality > 0 {
		text := fmt.Sprintf("at least %d%% of the rules hold: %s", p.Promise.Quality, promise(c.Health.IsGood))
		if c.Health.Quality != nil {
			text += fmt.Sprintf(", %.1f%% on %s", *c.Health.Quality, instant(*c.Health.QualityAt, time.DateOnly))
		}
		line("quality", text)
	}
	for i, term := range c.Words {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s: %s\n", term.Name, term.Short)
	}
}

func texts[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = string(x)
	}
	return strings.Join(out, ", ")
}

func productsStatus(name string, to products.Status) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		fs := flagSet("products "+name, "NAME", "Makes the product "+string(to)+", in its file. Its owner and stewards may, and who may grant.", stderr)
		var p productsPlace
		p.define(fs)
		return withDesk(ctx, fs, &p, args, 1, anything, func(d *openDesk) error {
			if err := d.SetStatus(ctx, p.door.caller, fs.Arg(0), to); err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s is %s.\n", fs.Arg(0), to)
			return nil
		})
	}
}

func productsSync(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("products sync", "", "Writes the subscriptions that are in force into the folder of grants, and takes out what ended.", stderr)
	var p productsPlace
	p.define(fs)
	return withDesk(ctx, fs, &p, args, 0, anything, func(d *openDesk) error {
		done, err := d.Sync(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%d subscriptions are in force", done.Given)
		if !done.Changed {
			fmt.Fprint(stdout, ", as before")
		}
		fmt.Fprintln(stdout, ".")
		var ids []string
		for id := range done.Lapsed {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			fmt.Fprintf(stderr, "cardlake: subscription %s gives nothing: %s\n", id, done.Lapsed[id])
		}
		return nil
	})
}

// instantType is that of times in lists.
var instantType = &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}
