package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// rule is a parsed expression.
//
// An expression that names hours means times of day: each of them comes once a day. If the clock goes forward over one, the run is at
// the change; if the clock goes back, the run is at the first of the two times. So a daily job runs once on both days. An expression
// for every hour follows the clock as it shows the time: it runs in both of the repeated hours, and not in the skipped one, so its
// runs keep their distance. (The library alone leaves out a run in the skipped hour, runs twice in the repeated one, and loses a day
// where the clock changes at midnight. It therefore only sees clocks that do not change.)
type rule struct {
	zone      *time.Location
	reboot    bool
	every     time.Duration // of @every; its runs are at multiples of it
	cron      cron.Schedule // otherwise
	everyHour bool          // cron has all hours
}

func loadZone(name string) (*time.Location, error) {
	if name == "" {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %.60q: write a name such as Europe/Berlin", name)
	}
	return zone, nil
}

// parse reads an expression.
func parse(text string, zone *time.Location) (rule, error) {
	const parts = cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor
	r := rule{zone: zone}
	word, rest, _ := strings.Cut(text, " ")
	switch {
	case text == "@reboot":
		r.reboot = true
		return r, nil
	case word == "@every":
		var err error
		if r.every, err = time.ParseDuration(rest); err != nil || r.every < time.Second || r.every%time.Second != 0 {
			return r, fmt.Errorf("%.60q is not a time of whole seconds such as 90s or 1h30m", rest)
		}
		return r, nil
	case strings.Contains(word, "TZ="): // the library panics if nothing follows
		return r, fmt.Errorf("%.60q has a time zone: write it as the key zone", text)
	}
	parsed, err := cron.NewParser(parts).Parse(text)
	if err != nil {
		return r, fmt.Errorf("%.60q is no cron expression: %w", text, err)
	}
	const hours = 1<<24 - 1
	s, ok := parsed.(*cron.SpecSchedule)
	if !ok || s.Minute == 0 || s.Hour == 0 || s.Dom == 0 || s.Month == 0 || s.Dow == 0 || // a field of commas
		parsed.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return r, fmt.Errorf("%.60q is a time that never comes", text)
	}
	r.cron, r.everyHour = parsed, s.Hour&hours == hours
	return r, nil
}

// next returns the first run after t; zero: there is none.
func (r *rule) next(t time.Time) time.Time {
	switch {
	case r.reboot:
		return time.Time{}
	case r.every > 0:
		return t.Truncate(r.every).Add(r.every).UTC()
	case r.everyHour:
		return r.nextShown(t)
	}
	t = t.In(r.zone)
	for wall := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC); ; {
		if wall = r.cron.Next(wall); wall.IsZero() {
			return wall
		}
		if at := instant(wall, r.zone); at.After(t) {
			return at.UTC()
		}
	}
}

// nextShown returns the first time after t at which the clock shows what the expression says.
func (r *rule) nextShown(t time.Time) time.Time {
	for after := t; ; after = t.Add(-1) {
		t = t.In(r.zone)
		_, change := t.ZoneBounds()
		_, offset := t.Zone()
		next := r.cron.Next(after.In(time.FixedZone("", offset)))
		if next.IsZero() || change.IsZero() || next.Before(change) {
			return next.UTC()
		}
		t = change // the time itself can be a run
	}
}

// instant returns when the clock of a zone first shows the time of wall; of a skipped time, the change.
func instant(wall time.Time, zone *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	start, end := t.ZoneBounds()
	_, offset := t.Zone()
	switch shown := t.Add(time.Duration(offset) * time.Second); {
	case shown.After(wall): // skipped, and t is behind the change
		return start
	case shown.Before(wall):
		return end
	case start.IsZero():
		return t
	}
	_, before := start.Add(-1).Zone()
	if first := wall.Add(-time.Duration(before) * time.Second); first.Before(start) {
		return first
	}
	return t
}

// latest returns the latest run in (after, until]; zero: there is none.
func (r *rule) latest(after, until time.Time) (at time.Time) {
	for look := time.Minute; ; look *= 2 {
		from := until.Add(-look)
		last := !from.After(after)
		if last {
			from = after
		}
		for t := r.next(from); !t.IsZero() && !t.After(until); t = r.next(t) {
			at = t
		}
		if last || !at.IsZero() {
			return at
		}
	}
}
