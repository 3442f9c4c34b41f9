package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/export"
)

const exportScheduleUsage = `usage: cardlake export schedule COMMAND [flags] [arguments]

  add TABLE   export each window of a table's time, when it is complete
  list        list the schedules of -as
  pause ID    ask for no more exports
  resume ID   go on where it stopped; what was missed is caught up with
  remove ID   forget it; its exports stay
`

func exportSchedule(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, exportScheduleUsage)
		return errUsage
	}
	switch command, args := args[0], args[1:]; command {
	case "add":
		return scheduleAdd(ctx, args, stdout, stderr)
	case "list":
		return scheduleList(ctx, args, stdout, stderr)
	case "pause", "resume", "remove":
		return scheduleChange(ctx, command, args, stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, exportScheduleUsage)
		return nil
	default:
		fmt.Fprintf(stderr, "cardlake export schedule: there is no command %q\n\n%s", command, exportScheduleUsage)
		return errUsage
	}
}

func scheduleAdd(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export schedule add", "TABLE", `Exports each window of a table's time, once, when it is complete: from one of -every's times to the next. What
-as may export then is exported, without a second factor. After 3 failures it is paused.`, stderr)
	var e exporting
	var r requested
	r.define(fs, true)
	every := fs.String("every", "daily", "hourly, daily, weekly, monthly, or five `fields` as in cron: minute hour day month weekday")
	zone := fs.String("time-zone", "UTC", "IANA `name` of the time zone of -every")
	return with(ctx, fs, &e, args, 1, func() error {
		if err := r.complete(); err != nil {
			return misused(fs, "%v", err)
		}
		r.Table = fs.Arg(0)
		if r.Compression == "none" {
			r.Compression = ""
		}
		s, err := e.Plan(ctx, e.door.caller, r.Request, *every, *zone)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s: first from %s until %s\n", s.ID, s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
		return err
	})
}

func scheduleList(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export schedule list", "", "Lists the schedules of -as.", stderr)
	var e exporting
	return with(ctx, fs, &e, args, 0, func() error {
		all, err := e.Schedules(ctx, e.door.caller)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "id\ttable\ttenant\tformat\tevery\ttime zone\tnext from\tuntil\tstate")
		for _, s := range all {
			state := "active"
			if s.Paused {
				state = "paused"
			}
			if s.Reason != "" {
				state += ": " + s.Reason
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.Request.Table, s.Request.Tenant, s.Request.Format, s.Every, s.TimeZone,
				s.From.Format(time.RFC3339), s.To.Format(time.RFC3339), state)
		}
		return w.Flush()
	})
}

func scheduleChange(ctx context.Context, command string, args []string, _, stderr io.Writer) error {
	fs := flagSet("export schedule "+command, "ID", "See \"cardlake export schedule\".", stderr)
	var e exporting
	return with(ctx, fs, &e, args, 1, func() error {
		if command == "remove" {
			return e.Remove(ctx, e.door.caller, fs.Arg(0))
		}
		_, err := e.SetPaused(ctx, e.door.caller, fs.Arg(0), command == "pause")
		return err
	})
}

// exportSettings shows or changes what holds for all exports of a tenant.
func exportSettings(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("export settings", "TENANT", `Shows what holds for all exports of a tenant, or changes it, if -as may change the tenant's grants. Public keys
are the tenant's, not of whoever exports: else a stolen sign-in could take rows away under a key of the thief's.`, stderr)
	var e exporting
	add := fs.String("add-recipient", "", "`NAME=KEY`: encrypt to this public key of age too, such as treasury=age1…")
	remove := fs.String("remove-recipient", "", "`name` of a public key that files are not encrypted to any more")
	must := fs.String("must-encrypt", "", "yes: refuse exports without encryption; no: take them")
	webhook := fs.String("webhook", "", "https `URL` that is told of exports that ended; none for nobody")
	e.door.breakGlass = false
	mfa := fs.Bool("mfa", false, "say that more than one factor was shown to this machine, which grants may ask for")
	return with(ctx, fs, &e, args, 1, func() error {
		tenant := cardlake.Tenant(fs.Arg(0))
		e.door.caller.MFA = *mfa
		if *add != "" || *remove != "" || *must != "" {
			err := e.Change(ctx, e.door.caller, tenant, func(s *export.Settings) error {
				if *add != "" {
					name, key, ok := strings.Cut(*add, "=")
					if !ok {
						return errors.New("-add-recipient is NAME=KEY")
					}
					s.Recipients = append(s.Recipients, export.Recipient{Name: name, Key: key})
				}
				if *remove != "" {
					before := len(s.Recipients)
					s.Recipients = slices.DeleteFunc(s.Recipients, func(r export.Recipient) bool { return r.Name == *remove })
					if len(s.Recipients) == before {
						return fmt.Errorf("there is no recipient %q", *remove)
					}
				}
				switch *must {
				case "":
				case "yes", "no":
					s.MustEncrypt = *must == "yes"
				default:
					return errors.New("-must-encrypt is yes or no")
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if *webhook != "" {
			secret, err := e.SetWebhook(ctx, e.door.caller, tenant, strings.TrimPrefix(*webhook, "none"))
			if err != nil {
				return err
			}
			if secret != "" {
				fmt.Fprintf(stderr, "the webhook's secret, which is shown this once: %s\n", secret)
			}
		}
		set, err := e.Settings(ctx, tenant)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "must encrypt: %t\nwebhook: %s\n", set.MustEncrypt, set.Webhook)
		for _, r := range set.Recipients {
			fmt.Fprintf(stdout, "recipient %s: %s, added by %s at %s\n", r.Name, r.Key, r.AddedBy, r.AddedAt.Format(time.RFC3339))
		}
		return nil
	})
}
