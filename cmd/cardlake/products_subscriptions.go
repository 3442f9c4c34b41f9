package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products"
)

func productsSubscribe(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("products subscribe", "NAME", "Asks for a product. Its owner or a steward decides, who reads the -reason.", stderr)
	var p productsPlace
	p.define(fs)
	tenants := fs.String("of", "", "`names` of the tenants whose rows are asked for, with commas; default all of the product's")
	days := fs.Int("days", 0, "for how many `days`; default as long as the product's terms allow")
	return withDesk(ctx, fs, &p, args, 1, anything, func(d *openDesk) error {
		r := products.Request{Product: fs.Arg(0), Days: *days}
		if *tenants != "" {
			for name := range strings.SplitSeq(*tenants, ",") {
				r.Tenants = append(r.Tenants, cardlake.Tenant(strings.TrimSpace(name)))
			}
		}
		s, err := d.Subscribe(ctx, p.door.caller, r)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "Asked for %s for %d days, as subscription %s. Its owner decides.\n", s.Product, s.Days, s.ID)
		return nil
	})
}

func subscriptionsList(name string, only products.State) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		about := "Lists the subscriptions of -as, and those to products that -as keeps; all to auditors and to who may grant."
		if only != "" {
			about += " Those only that wait for a decision."
		}
		fs := flagSet("products "+name, "", about, stderr)
		var p productsPlace
		p.define(fs)
		format, check := formatFlag(fs)
		return withDesk(ctx, fs, &p, args, 0, check, func(d *openDesk) error {
			list, err := d.Subscriptions(ctx, p.door.caller)
			if err != nil {
				return err
			}
			var out listing
			out.strings("subscription", "product", "subscriber", "state", "tenants")
			out.column("days", arrow.PrimitiveTypes.Int64)
			out.column("requested", instantType)
			out.column("until", instantType)
			out.strings("decided_by", "reason")
			for _, s := range list {
				if only != "" && s.State != only {
					continue
				}
				tenants, decided := "all", ""
				if len(s.Tenants) > 0 {
					tenants = texts(s.Tenants)
				}
				if s.State != products.Requested {
					decided = s.DecidedBy.String()
				}
				var until any
				if !s.Until.IsZero() {
					until = s.Until.UTC().Truncate(time.Second)
				}
				out.rows = append(out.rows, []any{s.ID, s.Product, s.Subscriber.String(), string(s.State), tenants, int64(s.Days),
					s.RequestedAt.UTC().Truncate(time.Second), until, decided, s.Reason})
			}
			return (*format)(ctx, stdout, &out)
		})
	}
}

func subscriptionDecide(name, about string, do func(*products.Desk, context.Context, grants.Caller, string) (products.Subscription, error)) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		fs := flagSet("products "+name, "ID", about, stderr)
		var p productsPlace
		p.define(fs)
		return withDesk(ctx, fs, &p, args, 1, anything, func(d *openDesk) error {
			s, err := do(d.Desk, ctx, p.door.caller, fs.Arg(0))
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "Subscription %s of %s to %s is %s", s.ID, s.Subscriber, s.Product, s.State)
			if s.State == products.Approved {
				fmt.Fprintf(stdout, " until %s", s.Until.UTC().Format(time.RFC3339))
			}
			fmt.Fprintln(stdout, ". Doors know within seconds.")
			return nil
		})
	}
}
