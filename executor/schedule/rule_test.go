package schedule

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests

	"github.com/stoker-init/stoker/executor"
)

// runs returns the n runs behind a time, as the zone shows them.
func runs(t *testing.T, expression, zone, after string, n int) string {
	t.Helper()
	loc, err := loadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parse(expression, loc)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, after)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for range n {
		if at = r.next(at); at.IsZero() {
			out = append(out, "never")
			break
		}
		out = append(out, at.In(loc).Format("02T15:04-07"))
	}
	return strings.Join(out, " ")
}

func TestRunsAtChangesOfTheClock(t *testing.T) {
	for _, c := range []struct{ name, expression, zone, after, want string }{
		{"skipped", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "28T02:30+01 29T03:00+02 30T02:30+02"},
		{"skipped", "30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", "07T02:30-05 08T03:00-04 09T02:30-04"},
		{"repeated", "30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", "24T02:30+02 25T02:30+02 26T02:30+01"},
		{"repeated", "30 1 * * *", "America/New_York", "2026-10-31T00:00:00Z", "31T01:30-04 01T01:30-04 02T01:30-05"},
		{"behind the skipped hour", "0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "29T03:00+02 30T03:00+02 31T03:00+02"},
		{"behind the repeated hour", "0 3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "25T03:00+01 26T03:00+01 27T03:00+01"},
		{"from the second of the repeated hours", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "26T02:30+01 27T02:30+01 28T02:30+01"},
		{"two in the skipped hour are one", "0,30 2 * * *", "Europe/Berlin", "2026-03-28T22:00:00Z", "29T03:00+02 30T02:00+02 30T02:30+02"},
		{"each half hour, skipped", "*/30 * * * *", "Europe/Berlin", "2026-03-29T00:20:00Z", "29T01:30+01 29T03:00+02 29T03:30+02"},
		{"each half hour, repeated", "*/30 * * * *", "Europe/Berlin", "2026-10-25T00:20:00Z", "25T02:30+02 25T02:00+01 25T02:30+01"},
		{"hourly at a quarter, skipped", "15 * * * *", "America/New_York", "2026-03-08T06:00:00Z", "08T01:15-05 08T03:15-04 08T04:15-04"},
		{"no midnight", "0 0 * * *", "Africa/Cairo", "2026-04-23T00:00:00Z", "24T01:00+03 25T00:00+03 26T00:00+03"},
		{"no midnight, on a date", "0 5 24 4 *", "Africa/Cairo", "2026-04-23T12:00:00Z", "24T05:00+03 24T05:00+02 24T05:00+02"},
		{"every", "@every 10m", "Europe/Berlin", "2026-10-25T00:55:00Z", "25T02:00+01 25T02:10+01 25T02:20+01"},
		{"another fraction of a second", "@daily", "UTC", "2026-01-01T23:59:59.5Z", "02T00:00+00 03T00:00+00 04T00:00+00"},
		{"reboot", "@reboot", "", "2026-01-01T00:00:00Z", "never"},
	} {
		if got := runs(t, c.expression, c.zone, c.after, 3); got != c.want {
			t.Errorf("%s: %s in %s: %s\nwant %s", c.name, c.expression, c.zone, got, c.want)
		}
	}
}

// TestDailyRunsComeOnceADay tries each half hour of a day over a year with both changes.
func TestDailyRunsComeOnceADay(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "UTC"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for half := range 48 {
			expression := time.Date(0, 1, 1, 0, 30*half, 0, 0, time.UTC).Format("04 15 * * *")
			r, err := parse(expression, loc)
			if err != nil {
				t.Fatal(err)
			}
			day := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
			at := time.Date(2025, 12, 31, 23, 59, 59, 0, loc)
			for ; day.Year() == 2026; day = day.AddDate(0, 0, 1) {
				at = r.next(at)
				if got := at.In(loc).Format(time.DateOnly); got != day.Format(time.DateOnly) {
					t.Fatalf("%s in %s: the run of %s is at %s", expression, zone, day.Format(time.DateOnly), at.In(loc))
				}
			}
		}
	}
}

func TestLatest(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ expression, after, until, want string }{
		{"* * * * *", "2026-01-01T00:00:00Z", "2026-06-01T12:00:30Z", "2026-06-01T12:00:00Z"},
		{"0 3 * * *", "2026-01-01T00:00:00Z", "2026-06-01T02:00:00Z", "2026-05-31T03:00:00Z"},
		{"0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z", "2026-01-02T03:00:00Z"},
		{"0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T02:59:59Z", "0001-01-01T00:00:00Z"},
		{"@every 1s", "2025-01-01T00:00:00Z", "2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05Z"},
		{"@reboot", "2025-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "0001-01-01T00:00:00Z"},
	} {
		r, err := parse(c.expression, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.latest(at(c.after), at(c.until)); !got.Equal(at(c.want)) {
			t.Errorf("%s from %s to %s: %s, want %s", c.expression, c.after, c.until, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	good := Config{Cron: "0 3 * * *", Command: []string{"true"}}
	for _, c := range []struct {
		name   string
		change func(*Config)
		field  string
		why    string
	}{
		{"night", func(*Config) {}, "-", ""},
		{"night", func(c *Config) { c.Cron, c.Zone = "@every 90s", "America/New_York" }, "-", ""},
		{"night", func(c *Config) { c.Cron = "" }, "cron", "no cron expression"},
		{"night", func(c *Config) { c.Cron = "61 * * * *" }, "cron", "above maximum (59)"},
		{"night", func(c *Config) { c.Cron = "0 0 30 2 *" }, "cron", "never comes"},
		{"night", func(c *Config) { c.Cron = ", * * * *" }, "cron", "never comes"},
		{"night", func(c *Config) { c.Cron = "0 0 * *" }, "cron", "expected exactly 5 fields"},
		{"night", func(c *Config) { c.Cron = "@every 500ms" }, "cron", "whole seconds"},
		{"night", func(c *Config) { c.Cron = "@every -5m" }, "cron", "whole seconds"},
		{"night", func(c *Config) { c.Cron = "CRON_TZ=" }, "cron", "key zone"},
		{"night", func(c *Config) { c.Cron = "@noon" }, "cron", "unrecognized descriptor"},
		{"night", func(c *Config) { c.Zone = "Europe/Atlantis" }, "zone", "there is no time zone"},
		{"night", func(c *Config) { c.Command = nil }, "command", "is missing"},
		{"night", func(c *Config) { c.Dir = "../x" }, "cwd", "neither absolute"},
		{"night", func(c *Config) { c.Retry.On = []string{"never"} }, "retry.on", "neither an exit code"},
		{"night", func(c *Config) { c.Class = "large" }, "class", "there is no class"},
		{"a/b", func(*Config) {}, "", "no name of a schedule"},
		{strings.Repeat("n", maxName+1), func(*Config) {}, "", "no name of a schedule"},
	} {
		cfg := good
		c.change(&cfg)
		got := cfg.Validate(c.name, executor.Config{})
		if c.field == "-" {
			if got != nil {
				t.Errorf("%+v: %v", cfg, got)
			}
		} else if len(got) != 1 || got[0].Field != c.field || !strings.Contains(got[0].Why, c.why) {
			t.Errorf("%s: %+v: %v, want %s: %s", c.name, cfg, got, c.field, c.why)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"0 3 * * *", "*/15 0-3,5 1 jan sun", "@daily", "@every 1h", "@reboot", "TZ=", "CRON_TZ=X", ",", "* * * * *",
		"0 0 31 2 *", "?/9223372036854775807 * * * *", "@every 2562047h", "0 0 29 2 *"} {
		f.Add(text, int64(1774746000))
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		r, err := parse(text, zone)
		if err != nil || r.reboot {
			return
		}
		at := time.Unix(unix%(1<<32), 0)
		next := r.next(at)
		if next.IsZero() {
			return // a 29 February behind 2096
		}
		if !next.After(at) {
			t.Fatalf("%q: the run after %s is at %s", text, at, next)
		}
		if got := r.latest(at, next); !got.Equal(next) {
			t.Fatalf("%q: the latest run up to %s is %s", text, next, got)
		}
	})
}
