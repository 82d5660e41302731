package launch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/filewatch"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/resize"
	"github.com/stoker-init/stoker/jvm/rollout"
	"github.com/stoker-init/stoker/supervisor"
)

// unwatchedNote is logged where files cannot be watched.
const unwatchedNote = "the sources of JVM options are not watched; a restart reads them"

// Drift watches the option sources of the running JVMs. Its rollout restarts the JVMs whose options have changed.
type Drift struct {
	sup       *supervisor.Supervisor
	launchers func() map[string]*Launcher // of the current configuration
	log       hclog.Logger
	rollout   *rollout.Rollout
	adjuster  *resize.Adjuster

	mu      sync.Mutex // guards the fields below
	watched watchSet
	named   map[string][]string // by service: option files named in the configuration or found by Digest (@file and the like)
	renamed chan struct{}       // holds one token after a change of named
	stop    context.CancelFunc  // stops the watch; nil: not watching
	done    <-chan struct{}     // closed when the latest watch has ended; nil: none was started
	recheck chan struct{}       // the rollout compares
	limits  chan struct{}       // the adjuster compares
}

// watchSet lists what is watched for one configuration.
type watchSet struct {
	Files, Dirs []string
	Named       map[string][]string
	Polled      []polledURL
}

// polledURL is a URL that is polled.
type polledURL struct {
	Source remote.Source
	Every  time.Duration
	// Env and Labels expand the URL of the service.
	Env, Labels map[string]string
	Service     string
	fetch       *remote.Fetcher[remote.Answer]
}

// NewDrift returns a Drift for the JVM services of a supervisor. earlier is what an earlier supervisor has done about limits.
func NewDrift(sup *supervisor.Supervisor, launchers func() map[string]*Launcher, earlier map[string]*resize.Cut, log hclog.Logger) *Drift {
	r := &Drift{sup: sup, launchers: launchers, log: log}
	r.rollout, r.adjuster = rollout.New(r, log), resize.New(resized{r}, log, earlier)
	return r
}

// Follow watches the sources of the current configuration until ctx ends or Follow is called again.
func (r *Drift) Follow(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := r.watchSet()
	if r.stop != nil && reflect.DeepEqual(want, r.watched) {
		signal(r.recheck) // the new configuration may read the same sources differently
		signal(r.limits)  // and allow or forbid changes of the JVMs
		return
	}
	if r.stop != nil {
		r.stop()
	}
	r.watched, r.stop = want, nil
	if len(r.launchers()) > 0 { // without a source there are limits
		r.startWatching(ctx, want)
	} else if r.done != nil {
		over := r.done
		go func() { <-over; r.rollout.Clear() }() // ends with the previous watch
	}
}

// LimitsChanged has the running JVMs compared at once with what a start under the limits of now would give.
func (r *Drift) LimitsChanged() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		signal(r.limits)
		signal(r.recheck)
	}
}

// watchSet collects the sources of all JVMs.
func (r *Drift) watchSet() watchSet {
	out := watchSet{Named: map[string][]string{}}
	launchers := r.launchers()
	var shared *Shared
	for _, name := range slices.Sorted(maps.Keys(launchers)) {
		l := launchers[name]
		shared = l.shared
		env, _ := l.Environ() // unreadable values are reported by the comparison
		sources := &sources{cfg: l.JVM, shared: l.shared, serviceEnv: *env}
		var named []string
		if out.Files, out.Dirs, named = sources.watchedFiles(); len(named) > 0 { // files and folders are the same for all
			out.Named[name] = named
		}
		if sources.chooseFlavor() != nil {
			continue // the fetch reports the error
		}
		for _, u := range sources.urls() {
			if u.Every != nil && *u.Every > 0 {
				out.Polled = append(out.Polled, polledURL{sourceOf(u), *u.Every, env.Vars, l.shared.Labels(), name, l.shared.fetch})
			}
		}
	}
	if shared != nil && shared.Plugins != nil {
		files, dirs := shared.Plugins.Watched()
		out.Files, out.Dirs = append(out.Files, files...), append(out.Dirs, dirs...)
	}
	return out
}

// startWatching starts the goroutines of a watch. The new rollout waits until the previous one has ended, since its check may take as
// long as the deadline of a configuration service. r.mu is held.
func (r *Drift) startWatching(parent context.Context, want watchSet) {
	ctx, cancel := context.WithCancel(parent)
	var all sync.WaitGroup
	kick, limits, before, over, watching := make(chan struct{}, 1), make(chan struct{}, 1), r.done, make(chan struct{}), make(chan struct{})
	r.recheck, r.limits, r.stop, r.done, r.named, r.renamed = kick, limits, cancel, over, maps.Clone(want.Named), make(chan struct{}, 1)
	renamed := r.renamed
	all.Go(func() { r.watchFiles(ctx, want, renamed, watching, kick) }) // ends with ctx
	for _, p := range want.Polled {
		all.Go(func() { r.poll(ctx, p, kick) }) // ends with ctx
	}
	all.Go(func() { // ends with ctx
		if before != nil {
			<-before
		}
		<-watching
		r.rollout.Run(ctx, kick)
	})
	all.Go(func() { // ends with ctx
		if before != nil {
			<-before
		}
		r.adjuster.Run(ctx, limits, func() { signal(kick) })
	})
	go func() { all.Wait(); close(over) }() // ends with the others
}

// watchFiles watches the files and folders of a configuration, and the files that options name, until ctx ends. It closes watching when
// the first watch has begun, and signals the beginning of a later one, as the files may have changed before.
func (r *Drift) watchFiles(ctx context.Context, want watchSet, renamed <-chan struct{}, watching, changed chan<- struct{}) {
	set, stop := r.fileSet(want), func() {}
	for {
		stop()
		stop = r.watchSetOfFiles(ctx, set, changed)
		if watching != nil {
			close(watching)
			watching = nil
		} else {
			signal(changed)
		}
		for before := set; slices.Equal(set.Files, before.Files); set = r.fileSet(want) {
			select {
			case <-ctx.Done():
				stop()
				return
			case <-renamed:
			}
		}
	}
}

// watchSetOfFiles starts to watch files until stop is called.
func (r *Drift) watchSetOfFiles(ctx context.Context, set filewatch.FileSet, changed chan<- struct{}) (stop func()) {
	if len(set.Files)+len(set.Folders) == 0 {
		return func() {}
	}
	w, err := filewatch.New(set)
	if err != nil {
		r.log.Warn(unwatchedNote, "error", err)
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() { // ends with stop
		defer close(over)
		if err := w.Run(ctx, func() { signal(changed) }); err != nil {
			r.log.Warn(unwatchedNote, "error", err)
		}
	}()
	return func() { cancel(); <-over }
}

// fileSet returns the files and folders to watch, with the files that options name.
func (r *Drift) fileSet(want watchSet) filewatch.FileSet {
	r.mu.Lock()
	defer r.mu.Unlock()
	named := slices.Concat(slices.Collect(maps.Values(r.named))...)
	slices.Sort(named)
	return filewatch.FileSet{Files: slices.Concat(want.Files, slices.Compact(named)), Folders: want.Dirs, Match: optionFileName}
}

// setNamed sets the files that the options of a service name.
func (r *Drift) setNamed(service string, files []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.named != nil && !slices.Equal(r.named[service], files) {
		r.named[service] = files
		signal(r.renamed)
	}
}

// signal puts a token into a channel with a buffer of one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pollJitter spreads the polls of many containers.
const pollJitter = 0.2

// poll signals when the answer of a URL has changed, or may have changed before the first poll. It pauses while the service is down.
func (r *Drift) poll(ctx context.Context, p polledURL, changed chan<- struct{}) {
	last := ""
	for {
		wait := float64(p.Every) * (1 + pollJitter*(2*rand.Float64()-1))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(wait)):
		}
		if s, ok := r.sup.Service(p.Service); !ok || s.Pid == 0 {
			continue
		}
		doc, err := p.fetch.Fetch(ctx, p.Source, remote.Variables(p.Env, p.Labels))
		if err != nil || doc.Stale != nil {
			r.log.Debug("a configuration service does not answer", "url", redact.URL(p.Source.URL), "error", errors.Join(err, doc.Stale))
			continue
		}
		if now := fmt.Sprintf("%q %q", doc.Value.Text, doc.Value.List); now != last {
			last = now
			signal(changed)
		}
	}
}

// JVMs returns the services with a JVM.
func (r *Drift) JVMs() []rollout.JVM {
	if r.sup.Stopping() {
		return nil
	}
	var out []rollout.JVM
	for name, l := range r.launchers() {
		if s, ok := r.sup.Service(name); ok {
			restart := l.JVM.Apply == jvm.ApplyRestart && (l.shared.Plugins == nil || !l.shared.Plugins.RestartDeferred(name, s.Pid))
			out = append(out, rollout.JVM{Name: name, State: s.State, Pid: s.Pid, Sources: s.Sources, Restart: restart,
				Urgent: r.adjuster.Settled(name, s.Pid)})
		}
	}
	slices.SortFunc(out, func(a, b rollout.JVM) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// errNotConfigured means that the service was removed from the configuration.
var errNotConfigured = errors.New("the service is not configured any more")

// Digest returns the fingerprint of the sources and limits of a service.
func (r *Drift) Digest(ctx context.Context, name string) (string, error) {
	l := r.launchers()[name]
	if l == nil {
		return "", errNotConfigured
	}
	env, err := l.Environ()
	if err != nil {
		return "", env.Mask.Error(err)
	}
	if l.shared.Plugins != nil {
		l.shared.Plugins.Refresh()
	}
	sources := &sources{cfg: l.JVM, shared: l.shared, serviceEnv: *env, user: l.User, own: l.ownLimits()}
	if _, err := sources.readConfigured(ctx); err != nil {
		return "", env.Mask.Error(err)
	}
	r.setNamed(name, sources.files)
	if f := l.shared.Report(name); f != nil && f.limits.Memory > 0 && sources.limits.Memory == 0 {
		return "", errUnknownLimit
	}
	return sources.digest, nil
}

// errUnknownLimit is returned where a limit that was known cannot be read.
var errUnknownLimit = errors.New("cannot read the memory limit")

// besideRoom is the memory that must be free in the container for a JVM that only checks options, in bytes.
const besideRoom = 150 << 20

// roomBeside reports whether the container has besideRoom. Without a limit, or where it is unknown, it has.
func roomBeside() bool {
	l := cgroup.Read("/")
	used, ok := cgroup.MemoryInUse("/", l)
	return !ok || *l.MemoryLimit-used >= besideRoom
}

// Compare renders the options as a start would. If the sources have changed, the JVM checks them, since a restart with rejected options
// would end a working service. Changed limits start no process: it could need the memory that the running JVM needs. The running options
// are those of its start, or after a takeover those of the process itself.
func (r *Drift) Compare(ctx context.Context, j rollout.JVM, digest string) (rollout.Comparison, error) {
	out := rollout.Comparison{Sources: sourcesOf(j.Sources) != sourcesOf(digest)}
	l := r.launchers()[j.Name]
	if l == nil {
		return out, errNotConfigured
	}
	env, err := l.Environ()
	if err != nil {
		return out, env.Mask.Error(err)
	}
	var before []string
	own := l.ownLimits()
	limits, _ := ReadLimits(own)
	if f := l.shared.Report(j.Name); f != nil {
		before, out.Limits = f.argv, limits.Changes(f.limits)
		_, cut := l.cut()
		out.Minor = !out.Sources && !cut && !nextSize(f.limits, limits)
	}
	if before == nil {
		before, _ = procfs.Cmdline(j.Pid)
	}
	how := planning{compare: true, quiet: !out.Sources}
	if out.Sources && preflightEnabled(l.JVM) && !roomBeside() {
		how.quiet, out.Unchecked = true, fmt.Sprintf("the JVM has not checked them, as less than %s of memory is free", jvm.SizeText(besideRoom))
	}
	p, err := l.checkedPlan(ctx, &service.Start{Environment: env, Cgroup: own, Options: l.FromHooks().Options}, how)
	if err != nil {
		why, _, _ := strings.Cut(env.Mask.Error(err).Error(), "\nhint:") // explain shows the running options
		masked := errors.New(why)
		if bad := new(OptionsError); errors.As(err, &bad) {
			masked = &OptionsError{masked}
		}
		return out, masked
	}
	for _, c := range jvm.Diff(withoutArchive(before, p.report.argv), p.report.argv) {
		out.Changes = append(out.Changes, env.Mask.Text(c))
	}
	heap := slices.IndexFunc(out.Changes, func(c string) bool { return strings.HasPrefix(c, "-Xmx") })
	if out.Limits != "" && heap > 0 { // the heap first: the text may be cut off
		first := out.Changes[heap]
		out.Changes = slices.Insert(slices.Delete(out.Changes, heap, heap+1), 0, first)
	}
	return out, nil
}

// nextSize reports whether the memory limit has changed by a tenth or more, for which a JVM is worth a restart.
func nextSize(before, now jvm.Limits) bool {
	return before.Unlimited != now.Unlimited || max(before.Memory-now.Memory, now.Memory-before.Memory) >= before.Memory/10
}

// Renew restarts a service if its process is still pid.
func (r *Drift) Renew(ctx context.Context, name string, pid int, reason string) error {
	return r.sup.RestartProcess(ctx, name, pid, reason)
}

// Start starts a service that is FATAL.
func (r *Drift) Start(ctx context.Context, name string) error {
	if s, ok := r.sup.Service(name); !ok || s.State != supervisor.Fatal { // it was stopped or started in the meantime
		return nil
	}
	return r.sup.Command(ctx, name, supervisor.EvStart, rollout.SourcesChanged+" or of its limits")
}

// Pending returns what a restart would change in the process pid of a service; nil: nothing.
func (r *Drift) Pending(name string, pid int) *rollout.PendingRestart {
	return r.rollout.Pending(name, pid)
}

// Cut returns the memory limit below the budget of the process pid of a service; nil: there is none.
func (r *Drift) Cut(name string, pid int) *resize.Cut { return r.adjuster.Cut(name, pid) }

// AddTo adds the pending restart and a memory limit that is too low to the notes of a service.
func (r *Drift) AddTo(s supervisor.Snapshot) supervisor.Snapshot {
	s.Notes = slices.Clone(s.Notes)
	if c := r.Cut(s.Name, s.Pid); c != nil {
		s.Notes = append(s.Notes, c.String())
	}
	if p := r.Pending(s.Name, s.Pid); p != nil {
		s.Notes = append(s.Notes, p.String())
	}
	return s
}
