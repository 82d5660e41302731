package supervisor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// HealthIssue is a fault of a service that still runs. It makes one incident for each start and Kind.
type HealthIssue struct {
	Kind  string         `json:"kind"` // empty: that of Cause
	Cause incident.Cause `json:"cause"`
	Text  string         `json:"text"`
	// Unhealthy says that the service does not count as healthy any more.
	Unhealthy bool `json:"unhealthy,omitempty"`
	// Degraded says that a part of it does not work; it counts as healthy.
	Degraded bool `json:"degraded,omitempty"`
	// Detail looks for a better Text; empty: there is none. nil: Text is all there is.
	Detail func(ctx context.Context) string `json:"-"`
}

func (c *HealthIssue) Error() string { return c.Text }

// detailed is the issue with the best text that there is.
func (c *HealthIssue) detailed(ctx context.Context) *HealthIssue {
	if c.Detail == nil {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, detailTime)
	defer cancel()
	out := *c
	out.Text, out.Detail = cmp.Or(c.Detail(ctx), c.Text), nil
	return &out
}

func (s *Service) verify() {
	if s.launch.Verify == nil {
		return
	}
	gen, p, verify := s.saved.Gen, s.proc, s.launch.Verify
	go func() { // ends with verify, which obeys its ctx
		ctx, cancel := context.WithTimeout(s.life, verifyTime)
		defer cancel()
		if err := verify(ctx, p); err != nil {
			s.report(s.life, event{kind: EvHealthIssue, gen: gen, err: err})
		}
	}()
}

// watchHealth reads output and log files of the present start and reports each kind of issue once.
func (s *Service) watchHealth(ctx context.Context) {
	gen := s.saved.Gen
	reporter := func() func(*HealthIssue) {
		reported := map[string]bool{}
		return func(c *HealthIssue) {
			if reported[c.Kind] {
				return
			}
			reported[c.Kind] = true
			go func() { // ends with ctx, which is over when the service is
				select {
				case <-time.After(liveOnTime):
					s.report(ctx, event{kind: EvHealthIssue, gen: gen, err: c.detailed(ctx)})
				case <-ctx.Done():
				}
			}()
		}
	}
	if watch := s.launch.WatchLogFile; watch != nil {
		go watch(ctx, reporter()) // ends with ctx
	}
	out := s.output()
	if s.launch.WatchOutput == nil || out == nil {
		return
	}
	from, issueOf, report := s.saved.LogStart, s.launch.WatchOutput(), reporter()
	go func() { // ends with ctx
		_ = out.Lines(ctx, from, true, func(line logs.Line) error {
			if c := issueOf(line.Text); c != nil {
				report(c)
			}
			return nil
		})
	}()
}

// Fail reports a failure from outside: a service that is STARTING fails, one that is RUNNING is unhealthy. A later
// start is not affected.
func (s *Supervisor) Fail(service string, start uint64, why string) {
	svc := s.set.Load().services[service]
	if svc == nil {
		return
	}
	if snap := svc.snap.Load(); snap.start == start {
		issue := &HealthIssue{Kind: "failed", Cause: incident.CauseUnhealthy, Text: why, Unhealthy: true}
		svc.report(svc.life, event{kind: EvHealthIssue, gen: snap.Starts, err: issue})
	}
}

func (s *Service) healthIssueAtStart(h event) {
	var c *HealthIssue
	if s.proc != nil && errors.As(h.err, &c) && c.Unhealthy {
		s.fail(incident.CauseFailedStart, c.Text)
	}
}

// healthIssue handles an issue of a RUNNING service, or the error of a check that could not be made.
func (s *Service) healthIssue(h event) {
	var c *HealthIssue
	if !errors.As(h.err, &c) {
		s.log.Warn("the running service could not be verified", "error", h.err)
		s.addNote(h.err.Error())
		s.save()
		return
	}
	if slices.ContainsFunc(s.saved.HealthIssues, func(old HealthIssue) bool { return old.Kind == c.Kind && old.Cause == c.Cause }) {
		return
	}
	if c.Degraded && len(s.saved.HealthIssues) >= maxDegraded {
		return
	}
	issue := *c
	issue.Text = clip(c.Text)
	if issue.Degraded {
		issue.Text = redact.Clip(c.Text, maxDegradedText)
	}
	s.saved.HealthIssues = append(s.saved.HealthIssues, issue)
	then := LiveReport
	switch {
	case issue.Degraded:
		s.log.Error("service is degraded", "reason", issue.Text)
		s.occur(lifecycle.Degraded, issue.Text)
	case !issue.Unhealthy:
		s.log.Error("service is not what it should be", "reason", issue.Text)
		s.addNote(issue.Text)
	default:
		if s.launch != nil && s.launch.Live != nil {
			then = s.cfg.Live.Then
		}
		s.log.Error("service is unhealthy", "reason", issue.Text, "then", then)
		s.occur(lifecycle.Unhealthy, issue.Text)
		s.saved.Uncounted = true // it started well: its restarts do not make it FATAL
	}
	s.applyLiveThen(then, issue.Cause, issue.Text)
}

func (s *Service) addNote(text string) {
	if len(s.saved.Notes) < maxNotes {
		s.saved.Notes = append(slices.Clone(s.saved.Notes), clip(text)) // snapshots have the other
	}
}

func (k *savedState) texts(meant func(HealthIssue) bool) string {
	var all []string
	for _, c := range k.HealthIssues {
		if meant(c) {
			all = append(all, c.Text)
		}
	}
	return strings.Join(all, "; ")
}
