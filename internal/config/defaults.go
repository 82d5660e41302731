package config

import (
	"maps"
	"time"

	"github.com/stoker-init/stoker/internal/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// Defaults that more than one place needs.
const (
	DefaultStopTimeout = 8 * time.Second // the whole shutdown
	DefaultLogLevel    = "info"
)

// WithDefaults returns cfg with every absent value that has a default set to
// it; pointers are set. cfg itself is left as it is.
//
//	main                       the only service, else the only one of kind tomcat
//	kind                       process
//	autostart                  true
//	success_codes              [0]; java and tomcat [0, 143]
//	ready.within, every        120s, 1s
//	restart.policy             always
//	restart.backoff            first 500ms, factor 2, max 30s, jitter 0.1, reset 60s
//	restart.limit              starts 5, within 10m, retry_every 5m
//	stop                       signal TERM, timeout the container's less 2s, thread_dump for java and tomcat
//	tomcat.setenv              import (kind tomcat)
//	stop.timeout, log.level    8s, info
//
// What is found on the machine when it is absent (user, paths of Tomcat and the
// JVM, the API's socket, the flavor) stays absent here.
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
	return cfg
}

func serviceDefaults(s Service, budget time.Duration) Service {
	orElse(&s.Kind, KindProcess)
	jvm := s.Kind == KindJava || s.Kind == KindTomcat
	if s.SuccessCodes == nil {
		s.SuccessCodes = []int{0}
		if jvm {
			s.SuccessCodes = []int{0, 143}
		}
	}
	pointerOrElse(&s.Autostart, true)
	orElse(&s.Ready.Within, 120*time.Second)
	orElse(&s.Ready.Every, time.Second)
	orElse(&s.Restart.Policy, supervisor.Always)
	b := &s.Restart.Backoff
	pointerOrElse(&b.First, 500*time.Millisecond)
	orElse(&b.Factor, 2)
	orElse(&b.Max, 30*time.Second)
	pointerOrElse(&b.Jitter, 0.1)
	orElse(&b.Reset, time.Minute)
	orElse(&s.Restart.Limit.Starts, 5)
	orElse(&s.Restart.Limit.Within, 10*time.Minute)
	pointerOrElse(&s.Restart.Limit.RetryEvery, 5*time.Minute)
	orElse(&s.Stop.Signal, "TERM")
	// With the container's 8s that is 6s; a longer grace serves the service.
	orElse(&s.Stop.Timeout, max(budget-2*time.Second, budget*3/4))
	pointerOrElse(&s.Stop.ThreadDump, jvm)
	if s.Kind == KindTomcat {
		orElse(&s.Tomcat.Setenv, tomcat.SetenvImport)
	}
	return s
}

// mainService returns the only service, or the only one of kind tomcat; empty
// when neither exists.
func mainService(services map[string]Service) string {
	var all, tomcats []string
	for name, s := range services {
		all = append(all, name)
		if s.Kind == KindTomcat {
			tomcats = append(tomcats, name)
		}
	}
	switch {
	case len(all) == 1:
		return all[0]
	case len(tomcats) == 1:
		return tomcats[0]
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
