package daemon

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
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

// bySources is who asks for a restart when the sources have changed.
const bySources = "a change of the sources of its JVM options"

// unwatched is what it means when files cannot be watched.
const unwatched = "the sources of JVM options are not watched; a restart reads them"

// jvmPlanner is a launcher of a JVM.
type jvmPlanner interface {
	// tried is what a start would execute, if the JVM takes it: the error may be its
	// refusal.
	tried(ctx context.Context, r *readied) (*jvmFacts, error)
	common() (*processLauncher, jvm.Config, sourceWorld)
}

func (l *javaLauncher) common() (*processLauncher, jvm.Config, sourceWorld) {
	return l.processLauncher, l.jvm, l.world
}

func (l *tomcatLauncher) common() (*processLauncher, jvm.Config, sourceWorld) {
	return l.processLauncher, l.jvm, l.world
}

// runningJVMs watches the sources of the JVMs that run: it is the jvmWorld of its
// sourceWatch.
type runningJVMs struct {
	sup   *supervisor.Supervisor
	plan  func() *setup
	log   hclog.Logger
	watch *sourceWatch
	named *namedFiles

	mu   sync.Mutex // guards what follows
	seen watchedSources
	stop context.CancelFunc // ends the watching; nil: nobody watches
	over <-chan struct{}    // closed when the latest watching has ended; nil: there was none
	kick chan struct{}
}

// watchedSources is what is watched for one configuration.
type watchedSources struct {
	Files, Dirs []string
	// Named are files that options of the configuration name, by service.
	Named  map[string][]string
	Polled []polled
}

// polled is a URL that is looked at from time to time.
type polled struct {
	Source remote.Source
	Every  time.Duration
	// Variables are those of the service and its labels.
	Env, Labels map[string]string
	Service     string
}

func newRunningJVMs(sup *supervisor.Supervisor, plan func() *setup, log hclog.Logger) *runningJVMs {
	r := &runningJVMs{sup: sup, plan: plan, log: log, named: newNamedFiles()}
	r.watch = newSourceWatch(r, log)
	return r
}

// launchers are the JVMs of the configuration in force.
func (r *runningJVMs) launchers() map[string]jvmPlanner {
	out := map[string]jvmPlanner{}
	for _, d := range r.plan().definitions {
		if l, ok := d.Launcher.(jvmPlanner); ok {
			out[d.Name] = l
		}
	}
	return out
}

// follow watches what the configuration in force names, until ctx ends or it is
// called again. Where nothing is to be watched nothing is done.
func (r *runningJVMs) follow(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := r.wanted()
	if r.stop != nil && reflect.DeepEqual(want, r.seen) {
		notify(r.kick) // the configuration may tell another restart from the same sources
		return
	}
	if r.stop != nil {
		r.stop()
	}
	r.seen, r.stop = want, nil
	if len(want.Files)+len(want.Dirs)+len(want.Named)+len(want.Polled) > 0 {
		r.begin(ctx, want)
	} else if r.over != nil {
		over := r.over
		go func() { <-over; r.watch.forget() }() // ends with what was watched before
	}
}

// wanted is what the sources of all JVMs are.
func (r *runningJVMs) wanted() watchedSources {
	var out watchedSources
	launchers := r.launchers()
	for _, name := range slices.Sorted(maps.Keys(launchers)) {
		base, cfg, world := launchers[name].common()
		out.Files, out.Dirs = watched(cfg) // the same for all
		env, _ := base.environ()           // what cannot be read is found by the comparison
		sources := &layers{cfg: cfg, world: world, outside: *env}
		if files := inConfig(sources); len(files) > 0 {
			if out.Named == nil {
				out.Named = map[string][]string{}
			}
			out.Named[name] = files
		}
		if sources.choose() != nil {
			continue // what is wrong is found out by a look
		}
		for _, n := range sources.named() {
			for _, u := range n.cfg.URLs {
				if ok, _ := u.When.Matches(env.vars, world.labels(), sources.policy.ProfileName()); ok && u.Every != nil && *u.Every > 0 {
					out.Polled = append(out.Polled, polled{sourceOf(u), *u.Every, env.vars, world.labels(), name})
				}
			}
		}
	}
	if plugins := r.plan().plugins; plugins != nil && len(launchers) > 0 {
		files, dirs := plugins.Watched()
		out.Files, out.Dirs = append(out.Files, files...), append(out.Dirs, dirs...)
	}
	return out
}

// begin starts the goroutines. The one that looks waits for the one before it, which
// nobody else does: a look may take as long as a configuration service lets it.
// r.mu is held.
func (r *runningJVMs) begin(parent context.Context, want watchedSources) {
	ctx, cancel := context.WithCancel(parent)
	var all sync.WaitGroup
	kick, before, over := make(chan struct{}, 1), r.over, make(chan struct{})
	r.kick, r.stop, r.over = kick, cancel, over
	if len(want.Files)+len(want.Dirs) > 0 {
		if w, err := filewatch.New(filewatch.FileSet{Files: want.Files, Folders: want.Dirs, Match: optionFileName}); err != nil {
			r.log.Warn(unwatched, "error", err)
		} else {
			all.Go(func() { // ends with ctx
				if err := w.Run(ctx, func() { notify(kick) }); err != nil {
					r.log.Warn(unwatched, "error", err)
				}
			})
		}
	}
	r.named.begin(want.Named)
	all.Go(func() { r.watchNamed(ctx, kick) }) // ends with ctx
	fetch := r.plan().fetch
	for _, p := range want.Polled {
		all.Go(func() { r.poll(ctx, fetch, p, kick) }) // ends with ctx
	}
	all.Go(func() { // ends with ctx
		if before != nil {
			<-before
		}
		r.watch.run(ctx, kick)
	})
	go func() { all.Wait(); close(over) }() // ends with the others
}

// notify puts a token into a channel that has room for one.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pollJitter keeps many containers from asking at the same moment.
const pollJitter = 0.2

// poll tells when the answer of a URL has become another one, or may have before it
// was first asked. Without a service that is up nobody is asked.
func (r *runningJVMs) poll(ctx context.Context, fetch *remote.Fetcher, p polled, changed chan<- struct{}) {
	last, known := "", false
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
		doc, err := fetch.Fetch(ctx, p.Source, remote.Variables(p.Env, p.Labels))
		if err != nil || doc.Stale != nil {
			r.log.Debug("a configuration service does not answer", "url", redact.URL(p.Source.URL), "error", errors.Join(err, doc.Stale))
			continue
		}
		if now := fmt.Sprintf("%q %q", doc.Text, doc.List); !known || now != last {
			last, known = now, true
			notify(changed)
		}
	}
}

// jvms are the services with a JVM.
func (r *runningJVMs) jvms() []runningJVM {
	if r.sup.Stopping() {
		return nil
	}
	var out []runningJVM
	for name := range r.launchers() {
		if s, ok := r.sup.Service(name); ok {
			out = append(out, runningJVM{name, s.State, s.Pid, s.Sources})
		}
	}
	slices.SortFunc(out, func(a, b runningJVM) int { return strings.Compare(a.name, b.name) })
	return out
}

// errGone is for a service that has left the configuration meanwhile.
var errGone = errors.New("the service is not configured any more")

// digest reads the sources of a service.
func (r *runningJVMs) digest(ctx context.Context, name string) (string, error) {
	l := r.launchers()[name]
	if l == nil {
		return "", errGone
	}
	base, cfg, world := l.common()
	env, err := base.environ()
	if err != nil {
		return "", env.hide.err(err)
	}
	if world.plugins != nil {
		world.plugins.Refresh()
	}
	sources := &layers{cfg: cfg, world: world, outside: *env, user: base.user}
	if _, err := sources.fixed(ctx); err != nil {
		return "", env.hide.err(err)
	}
	r.named.set(name, sources.files)
	return sources.digest(), nil
}

// compare renders as a start would, and asks the JVM as that does: what it refuses
// would end a service that is well. What runs is known from its start, or after a
// takeover from the process itself.
func (r *runningJVMs) compare(ctx context.Context, name string, pid int) (changes []string, err error) {
	l := r.launchers()[name]
	if l == nil {
		return nil, errGone
	}
	base, _, _ := l.common()
	env, err := base.environ()
	if err != nil {
		return nil, env.hide.err(err)
	}
	before, own := r.started(name, pid, base)
	facts, err := l.tried(ctx, &readied{environment: env, own: own, options: base.given().Options})
	if err != nil {
		why, _, _ := strings.Cut(env.hide.err(err).Error(), "\nhint:") // explain shows what runs
		if bad := new(optionsError); errors.As(err, &bad) {
			return nil, &optionsError{errors.New(why)}
		}
		return nil, errors.New(why)
	}
	for _, c := range jvm.Diff(before, facts.argv) {
		changes = append(changes, env.hide.text(c))
	}
	return changes, nil
}

// started is the command line of a process, and the cgroup that it was sized for.
func (r *runningJVMs) started(name string, pid int, base *processLauncher) (argv []string, own *cgroup.Own) {
	if f, ok := r.plan().jvms.Load(name); ok && f.(*jvmFacts).argv != nil {
		return f.(*jvmFacts).argv, f.(*jvmFacts).own
	}
	if base.wish.Memory > 0 {
		own = &cgroup.Own{Memory: &base.wish.Memory}
	}
	if base.wish.CPUs > 0 {
		if own == nil {
			own = &cgroup.Own{}
		}
		own.CPUs = &base.wish.CPUs
	}
	argv, _ = procfs.Cmdline(pid)
	return argv, own
}

func (r *runningJVMs) renew(ctx context.Context, name string, pid int) error {
	return r.sup.RestartProcess(ctx, name, pid, bySources)
}

func (r *runningJVMs) start(ctx context.Context, name string) error {
	if s, ok := r.sup.Service(name); !ok || s.State != supervisor.Fatal { // it was stopped meanwhile, or started
		return nil
	}
	return r.sup.Command(ctx, name, supervisor.EvStart, bySources)
}

func (r *runningJVMs) restarts(name string, pid int) bool {
	plan := r.plan()
	return plan.config.JVM.Apply == jvm.ApplyRestart && (plan.plugins == nil || !plan.plugins.RestartDeferred(name, pid))
}

// addTo adds what a restart would change to the notes of a service.
func (r *runningJVMs) addTo(s supervisor.Snapshot) supervisor.Snapshot {
	if p := r.watch.pending(s.Name, s.Pid); p != nil {
		s.Notes = append(slices.Clone(s.Notes), p.String())
	}
	return s
}
