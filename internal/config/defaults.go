package config

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// tomcatStop is the time that a Tomcat whose requests do not end needs for its own stop: 2 s for each application with requests
// (unloadDelay), and the applications' own end.
const tomcatStop = 4 * time.Second

// WithDefaults returns cfg with every absent value that has a default set to it; pointers
// are set. cfg itself is left as it is. Most defaults are the tags of the fields. The
// others are
//
//	main                       the only service that is no oneshot, else the only one of kind tomcat
//	success_codes              [0]; java and tomcat [0, 143]
//	ready.method, live.method  GET (with http)
//	live                       only of a service that is no oneshot
//	restart.policy             always; a oneshot: on-failure
//	restart.limit              uncounted_codes of java and tomcat [3]
//	stop                       timeout the container's less 2s, thread_dump for java and tomcat
//	output.file                only with output.file.path
//	tomcat                     only of kind tomcat
//	netinit                    only with netinit.source
//	hooks.*                    see hooks.Hook
//
// What is found on the machine when it is absent (user, paths of Tomcat and the JVM, the
// API's socket, the flavor) stays absent here.
func WithDefaults(cfg Config) Config {
	layeredyaml.SetDefaults(&cfg)
	cfg.Services = maps.Clone(cfg.Services)
	for name, s := range cfg.Services {
		cfg.Services[name] = serviceDefaults(s, cfg.Stop.Timeout)
	}
	if cfg.Main == "" {
		cfg.Main = mainService(cfg.Services)
	}
	for _, layer := range []*jvm.LayerConfig{&cfg.JVM.Default, &cfg.JVM.User, &cfg.JVM.Enforced} {
		layer.URLs = slices.Clone(layer.URLs)
		for k := range layer.URLs {
			layeredyaml.SetDefaults(&layer.URLs[k])
		}
	}
	if cfg.Netinit.Source != "" {
		layeredyaml.SetDefaults(&cfg.Netinit)
	}
	hookDefaults(&cfg.Hooks.ByEvent)
	return cfg
}

// hookDefaults replaces the lists by copies with defaults.
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
	layeredyaml.SetDefaults(&s)
	if s.SuccessCodes == nil {
		s.SuccessCodes = []int{0}
		if s.hasJVM() {
			s.SuccessCodes = []int{0, 143}
		}
	}
	if s.Restart.Limit.UncountedCodes == nil && s.hasJVM() {
		s.Restart.Limit.UncountedCodes = []int{3} // -XX:+ExitOnOutOfMemoryError
	}
	if !s.Oneshot {
		layeredyaml.SetDefaults(&s.Live)
	}
	for _, p := range []*probe.Config{&s.Ready.Config, &s.Live.Config} {
		if p.HTTP.URL != "" {
			p.HTTP.Method = cmp.Or(p.HTTP.Method, http.MethodGet)
		}
	}
	policy := supervisor.Always
	if s.Oneshot {
		policy = supervisor.OnFailure // what has succeeded is done
	}
	s.Restart.Policy = cmp.Or(s.Restart.Policy, policy)
	// With the container's 8s that is 6s; a longer grace serves the service.
	s.Stop.Timeout = cmp.Or(s.Stop.Timeout, max(budget-2*time.Second, budget*3/4))
	if s.Kind == KindTomcat && s.Stop.Requests == nil {
		requests := min(s.Stop.Timeout/2, max(s.Stop.Timeout-tomcatStop, 0))
		s.Stop.Requests = &requests
	}
	if s.Stop.ThreadDump == nil {
		dump := s.hasJVM()
		s.Stop.ThreadDump = &dump
	}
	if s.Output.File.Path != "" {
		layeredyaml.SetDefaults(&s.Output.File)
	}
	if s.Kind == KindTomcat {
		layeredyaml.SetDefaults(&s.Tomcat)
	}
	return s
}

// mainService returns the only service that is no oneshot, or the only one of kind tomcat;
// empty if there is none.
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
