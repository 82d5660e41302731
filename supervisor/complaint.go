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

// Complaint is something that is wrong with a service that runs on. It makes one
// incident for each start and Kind.
type Complaint struct {
	Kind  string         `json:"kind"` // empty: that of Cause
	Cause incident.Cause `json:"cause"`
	Text  string         `json:"text"`
	// Ill says that the service does not count as healthy any more.
	Ill bool `json:"ill,omitempty"`
	// Degraded says that a part of it does not work; it counts as healthy.
	Degraded bool `json:"degraded,omitempty"`
	// Detail looks for a better Text; empty: there is none. nil: Text is all there is.
	Detail func(ctx context.Context) string `json:"-"`
}

func (c *Complaint) Error() string { return c.Text }

// detailed is the complaint with the best text that there is.
func (c *Complaint) detailed(ctx context.Context) *Complaint {
	if c.Detail == nil {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, explainTime)
	defer cancel()
	out := *c
	out.Text, out.Detail = cmp.Or(c.Detail(ctx), c.Text), nil
	return &out
}

// verifyTime bounds a look at what runs.
const verifyTime = 5 * time.Second

// liveOnTime is how long a service must live on after what it said: its last words
// belong to its end.
const liveOnTime = time.Second

// verify has a look at what runs, once for each start.
func (s *Service) verify() {
	if s.launch.Verify == nil {
		return
	}
	gen, p, look := s.kept.Gen, s.proc, s.launch.Verify
	go func() { // ends with the look, which obeys its ctx
		ctx, cancel := context.WithTimeout(s.life, verifyTime)
		defer cancel()
		if err := look(ctx, p); err != nil {
			s.report(s.life, happening{event: EvComplaint, gen: gen, err: err})
		}
	}()
}

// listen reads the output of the present start, from its beginning, and what it
// says elsewhere, as long as ctx allows, and complains of what it lives on with. What
// was heard before is not complained of again.
func (s *Service) listen(ctx context.Context) {
	gen := s.kept.Gen
	complainer := func() func(*Complaint) {
		heard := map[string]bool{}
		return func(c *Complaint) {
			if heard[c.Kind] {
				return
			}
			heard[c.Kind] = true
			go func() { // ends with ctx, which is over when the service is
				select {
				case <-time.After(liveOnTime):
					s.report(ctx, happening{event: EvComplaint, gen: gen, err: c.detailed(ctx)})
				case <-ctx.Done():
				}
			}()
		}
	}
	if overhear := s.launch.Overhear; overhear != nil {
		go overhear(ctx, complainer()) // ends with ctx
	}
	out := s.output()
	if s.launch.Listen == nil || out == nil {
		return
	}
	from, hear, complain := s.kept.LogStart, s.launch.Listen(), complainer()
	go func() { // ends with ctx
		_ = out.Lines(ctx, from, true, func(line logs.Line) error {
			if c := hear(line.Text); c != nil {
				complain(c)
			}
			return nil
		})
	}()
}

// Fail says that the round of a service, though it lives, is not what it was to be:
// a start fails, and a RUNNING service is ill. Of a round that is over it says nothing.
func (s *Supervisor) Fail(service string, round uint64, why string) {
	svc := s.set.Load().services[service]
	if svc == nil {
		return
	}
	if snap := svc.snap.Load(); snap.round == round {
		svc.report(svc.life, happening{event: EvComplaint, gen: snap.gen, err: &Complaint{Kind: "failed", Cause: incident.CauseUnhealthy, Text: why, Ill: true}})
	}
}

// complainsEarly gives up a start that lives and is ill.
func (s *Service) complainsEarly(h happening) {
	var c *Complaint
	if s.proc != nil && errors.As(h.err, &c) && c.Ill {
		s.fail(incident.CauseFailedStart, c.Text)
	}
}

// complains deals with what is wrong with a service that runs, or with the
// reason why nobody could look.
func (s *Service) complains(h happening) {
	var c *Complaint
	if !errors.As(h.err, &c) {
		s.log.Warn("the running service could not be looked at", "error", h.err)
		s.addNote(h.err.Error())
		s.keep()
		return
	}
	if slices.ContainsFunc(s.kept.Complaints, func(old Complaint) bool { return old.Kind == c.Kind && old.Cause == c.Cause }) {
		return
	}
	if c.Degraded && len(s.kept.Complaints) >= maxComplaints {
		return
	}
	made := *c
	made.Text = clip(c.Text)
	if made.Degraded {
		made.Text = redact.Clip(c.Text, maxComplaint)
	}
	s.kept.Complaints = append(s.kept.Complaints, made)
	then := LiveReport
	if s.launch != nil && s.launch.Live != nil { // what is to be done with a sick one was thought about
		then = s.cfg.Live.Then
	}
	if made.Degraded {
		s.log.Error("service is degraded", "reason", made.Text)
		s.reach(lifecycle.Degraded, made.Text)
		s.recordIssue(made.Cause, made.Text)
		s.keep()
		return
	}
	if !made.Ill {
		s.log.Error("service is not what it should be", "reason", made.Text)
		s.addNote(made.Text)
		s.recordIssue(made.Cause, made.Text)
		s.keep()
		return
	}
	s.log.Error("service is ill", "reason", made.Text, "then", then)
	s.reach(lifecycle.Unhealthy, made.Text)
	s.kept.Spared = true // it works: its restart is not to park it
	s.giveUp(then, made.Cause, made.Text)
}

// Bounds of what one start is degraded by: how many, and the bytes of each. They are
// part of the state.
const (
	maxComplaints = 16
	maxComplaint  = 1 << 10
)

// maxNotes bounds the notes of one start.
const maxNotes = 64

func (s *Service) addNote(text string) {
	if len(s.kept.Notes) < maxNotes {
		s.kept.Notes = append(slices.Clone(s.kept.Notes), clip(text)) // snapshots have the other
	}
}

// texts are those of the complaints that are meant.
func (k *kept) texts(meant func(Complaint) bool) string {
	var all []string
	for _, c := range k.Complaints {
		if meant(c) {
			all = append(all, c.Text)
		}
	}
	return strings.Join(all, "; ")
}
