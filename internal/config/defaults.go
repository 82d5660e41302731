package config

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// Defaults that more than one place needs.
const (
	DefaultStopTimeout = 8 * time.Second // the whole shutdown
	DefaultLogLevel    = "info"
	DefaultPluginDir   = "/etc/stoker/plugins"
)

// WithDefaults returns cfg with every absent value that has a default set to
// it; pointers are set. cfg itself is left as it is.
//
//	main                       the only service that is no oneshot, else the only one of kind tomcat
//	kind                       process
//	autostart                  true
//	success_codes              [0]; java and tomcat [0, 143]
//	ready.within, every        120s, 1s
//	ready.timeout, method      5s, GET (with ready.http)
//	live.every, timeout        10s, 5s; method GET (with live.http)
//	live.failures, successes   3, 1
//	live.then                  restart
//	restart.policy             always; a oneshot: on-failure
//	restart.backoff            first 500ms, factor 2, max 30s, jitter 0.1, reset 60s
//	restart.limit              starts 5, within 10m, retry_every 5m; uncounted_codes of java and tomcat [3]
//	stop                       signal TERM, timeout the container's less 2s, thread_dump for java and tomcat
//	output                     keep 256KiB, format raw, overflow drop
//	output.file                size 10MiB, files 5 (with output.file.path)
//	tomcat.setenv              import (kind tomcat)
//	stop.timeout, log.level    8s, info
//	on_fatal                   stay
//	jvm.check                  true
//	reload.watch               true
//	jvm.apply                  report
//	plugins.dir                /etc/stoker/plugins
//	jvm.*.urls                 timeout 2s, deadline 5s, every 60s
//	hooks.dir                  /etc/stoker/hooks
//	hooks.*                    timeout 30s, on_failure ignore, retry_every 1s, share 0.5; method POST (with url)
//
// What is found on the machine when it is absent (user, paths of Tomcat and the
// JVM, the API's socket, the flavor) stays absent here, and so does live of a
// oneshot, which has none.
func WithDefaults(cfg Config) Config {
	orElse(&cfg.Stop.Timeout, DefaultStopTimeout)
	cfg.Services = maps.Clone(cfg.Services)
	for name, s := range cfg.Services {
		cfg.Services[name] = serviceDefaults(s, cfg.Stop.Timeout)
	}
	if cfg.Main == "" {
		cfg.Main = mainService(cfg.Services)
	}
	orElse(&cfg.Log.Level, DefaultLogLevel)
	orElse(&cfg.OnFatal, supervisor.OnFatalStay)
	pointerOrElse(&cfg.JVM.Check, true)
	pointerOrElse(&cfg.Reload.Watch, true)
	orElse(&cfg.JVM.Apply, jvm.ApplyReport)
	orElse(&cfg.Plugins.Dir, DefaultPluginDir)
	for _, layer := range []*jvm.LayerConfig{&cfg.JVM.Default, &cfg.JVM.User, &cfg.JVM.Enforced} {
		layer.URLs = slices.Clone(layer.URLs)
		for k := range layer.URLs {
			orElse(&layer.URLs[k].Timeout, 2*time.Second)
			orElse(&layer.URLs[k].Deadline, 5*time.Second)
			pointerOrElse(&layer.URLs[k].Every, time.Minute)
		}
	}
	orElse(&cfg.Hooks.Dir, hooks.DefaultDir)
	hookDefaults(&cfg.Hooks.ByEvent)
	return cfg
}

// hookDefaults makes the lists new ones.
func hookDefaults(c *hooks.ByEvent) {
	for _, e := range lifecycle.Events() {
		list := slices.Clone(c.Of(e))
		for k := range list {
			list[k] = list[k].WithDefaults()
		}
		c.Lists[e.Index()] = list
	}
}

func serviceDefaults(s Service, budget time.Duration) Service {
	orElse(&s.Kind, KindProcess)
	if s.SuccessCodes == nil {
		s.SuccessCodes = []int{0}
		if s.hasJVM() {
			s.SuccessCodes = []int{0, 143}
		}
	}
	if s.Restart.Limit.UncountedCodes == nil && s.hasJVM() {
		s.Restart.Limit.UncountedCodes = []int{3} // -XX:+ExitOnOutOfMemoryError
	}
	pointerOrElse(&s.Autostart, true)
	orElse(&s.Ready.Within, 120*time.Second)
	orElse(&s.Ready.Every, time.Second)
	probeDefaults(&s.Ready.Config)
	if !s.Oneshot {
		liveDefaults(&s.Live)
	}
	restartDefaults(&s.Restart, s.Oneshot)
	orElse(&s.Stop.Signal, "TERM")
	// With the container's 8s that is 6s; a longer grace serves the service.
	orElse(&s.Stop.Timeout, max(budget-2*time.Second, budget*3/4))
	pointerOrElse(&s.Stop.ThreadDump, s.hasJVM())
	outputDefaults(&s.Output)
	if s.Kind == KindTomcat {
		orElse(&s.Tomcat.Setenv, tomcat.SetenvImport)
	}
	return s
}

func probeDefaults(p *probe.Config) {
	orElse(&p.Timeout, 5*time.Second)
	if p.HTTP.IsSet() {
		orElse(&p.HTTP.Method, http.MethodGet)
	}
}

func liveDefaults(l *supervisor.Live) {
	probeDefaults(&l.Config)
	orElse(&l.Every, 10*time.Second)
	orElse(&l.Failures, 3)
	orElse(&l.Successes, 1)
	orElse(&l.Then, supervisor.LiveRestart)
}

func restartDefaults(r *supervisor.Restart, oneshot bool) {
	policy := supervisor.Always
	if oneshot {
		policy = supervisor.OnFailure // what has succeeded is done
	}
	orElse(&r.Policy, policy)
	b := &r.Backoff
	pointerOrElse(&b.First, 500*time.Millisecond)
	orElse(&b.Factor, 2)
	orElse(&b.Max, 30*time.Second)
	pointerOrElse(&b.Jitter, 0.1)
	orElse(&b.Reset, time.Minute)
	orElse(&r.Limit.Starts, 5)
	orElse(&r.Limit.Within, 10*time.Minute)
	pointerOrElse(&r.Limit.RetryEvery, 5*time.Minute)
}

func outputDefaults(o *supervisor.Output) {
	orElse(&o.Keep, "256KiB")
	orElse(&o.Format, supervisor.OutputRaw)
	orElse(&o.Overflow, supervisor.OverflowDrop)
	if o.File.Path != "" {
		orElse(&o.File.Size, "10MiB")
		orElse(&o.File.Files, 5)
	}
}

// mainService returns the only service that is meant to go on running, or the
// only one of kind tomcat; empty when neither exists.
func mainService(services map[string]Service) string {
	var all, lasting, tomcats []string
	for name, s := range services {
		all = append(all, name)
		if !s.Oneshot {
			lasting = append(lasting, name)
		}
		if s.Kind == KindTomcat {
			tomcats = append(tomcats, name)
		}
	}
	for _, only := range [][]string{all, lasting, tomcats} {
		if len(only) == 1 {
			return only[0]
		}
	}
	return ""
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// pointerOrElse makes a new value, since a shared one would tie services together.
func pointerOrElse[T any](v **T, def T) {
	if *v == nil {
		*v = &def
	}
}
