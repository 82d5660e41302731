package training

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// The JVM that makes an archive gives way to the service that may run beside it.
const (
	lowNice     = 10
	firstVictim = 1000
)

// Configure leaves the service and what it requires in the configuration; beside says that the services run, so that what it requires is
// left out too. The service gets settings under which it does no harm to the same service that runs beside it.
func (o *Options) Configure(cfg *config.Config, beside bool) error {
	svc, ok := cfg.Services[o.Service]
	switch {
	case !ok:
		names := slices.Sorted(maps.Keys(cfg.Services))
		return &exit.Error{Err: fmt.Errorf("cannot make the archive of %q: there is no such service", o.Service),
			Hint: suggest.Hint(o.Service, names), Code: exit.NotFound}
	case svc.Kind == config.KindProcess:
		return &exit.Error{Err: fmt.Errorf("cannot make the archive of %q: it is of kind process, which has no JVM", o.Service),
			Hint: "an archive is for a service of kind java or tomcat", Code: exit.NotFound}
	case cfg.JVM.Archive == jvm.ArchiveOff:
		return &exit.Error{Err: fmt.Errorf("cannot make the archive of %q: jvm.archive is off, so that it would not be used", o.Service),
			Hint: "--set jvm.archive=auto, or leave the key out", Code: exit.BadConfig}
	}
	if err := portInUse(svc); err != nil {
		return &exit.Error{Err: fmt.Errorf("cannot make the archive of %q: %w", o.Service, err),
			Hint: "make it in the image build, or while the service is stopped", Code: exit.TryLater}
	}
	names := []string{o.Service}
	if !beside {
		names = requiredWith(o.Service, func(name string) []string { return cfg.Services[name].Requires })
	}
	other := func(name string) bool { return !slices.Contains(names, name) }
	maps.DeleteFunc(cfg.Services, func(name string, _ config.Service) bool { return other(name) })
	for name, s := range cfg.Services {
		no := false
		s.Requires, s.After = slices.DeleteFunc(slices.Clone(s.Requires), other), slices.DeleteFunc(slices.Clone(s.After), other)
		s.Autostart, s.Essential, s.Live = &no, false, supervisor.Live{}
		cfg.Services[name] = s
	}
	cfg.Services[o.Service] = settings(cfg.Services[o.Service], o.Within)
	cfg.Main, cfg.OnFatal, cfg.Executor.Config, cfg.Stop.Timeout = o.Service, supervisor.OnFatalStay, executor.Config{}, o.Within
	return nil
}

// requiredWith returns a service and what it requires, by what requires returns.
func requiredWith(service string, requires func(string) []string) []string {
	out := []string{service}
	for k := 0; k < len(out); k++ {
		for _, r := range requires(out[k]) {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// settings returns the settings of a service whose archive is made.
func settings(s config.Service, within time.Duration) config.Service {
	nice, score, no, none := lowNice, firstVictim, false, time.Duration(0)
	if s.Nice != nil {
		nice = max(nice, *s.Nice)
	}
	s.Nice, s.OOMScoreAdj, s.Cgroup = &nice, &score, supervisor.Cgroup{}
	s.Restart.Policy, s.Oneshot = supervisor.Never, false
	s.Stop = supervisor.Stop{Signal: s.Stop.Signal, Timeout: within, ThreadDump: &no, Requests: &none}
	s.Output.Format, s.Output.File = supervisor.OutputNone, supervisor.OutputFile{}
	s.Ready.Within = within
	if s.Kind == config.KindTomcat { // its port is private
		s.Ready.Config, s.Ready.Log = probe.Config{}, ""
	}
	return s
}

// portInUse returns an error if something listens already where the readiness of a service is asked for: it would answer in its place.
func portInUse(s config.Service) error {
	port := s.Ready.Port()
	if port == 0 || s.Kind == config.KindTomcat { // a Tomcat gets a private one
		return nil
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("localhost", strconv.Itoa(port)), time.Second)
	if err != nil {
		return nil //nolint:nilerr // nothing listens
	}
	conn.Close()
	return fmt.Errorf("another process listens on port %d, which ready asks", port)
}

// Memory of the JVM that makes an archive, in bytes.
const (
	usualHeap    = 512 << 20
	smallestHeap = 96 << 20
	besideHeap   = 384 << 20 // classes, code and the archive in the making; on Java 25 also the JVM that writes it
)

// heapFor returns the heap for the JVM. limit is the memory limit, of which used is in use.
func heapFor(asked, limit, used int64) (int64, error) {
	free, least := max(limit-used, 0), max(asked, smallestHeap)
	if free < least+besideHeap {
		return 0, fmt.Errorf("%s of the memory limit of %s are free, and it needs %s: a heap of %s, and %s for classes and code",
			jvm.SizeText(free), jvm.SizeText(limit), jvm.SizeText(least+besideHeap), jvm.SizeText(least), jvm.SizeText(besideHeap))
	}
	if asked > 0 {
		return asked, nil
	}
	return min(usualHeap, free-besideHeap), nil
}

// room decides the heap of the JVM, or returns an error if there is no room for it.
func (t *Trainer) room() error {
	heap := cmp.Or(t.Heap, usualHeap)
	limits := cgroup.Read("/")
	if used, ok := cgroup.MemoryInUse("/", limits); ok {
		var err error
		if heap, err = heapFor(t.Heap, *limits.MemoryLimit, used); err != nil {
			return &exit.Error{Err: fmt.Errorf("cannot make the archive of %s beside what runs here: %w", t.Service, err),
				Hint: "make it in the image build (RUN stoker jvm archive " + t.Service + "), or raise the limit meanwhile",
				Code: exit.TryLater}
		}
	}
	t.options = []string{"-Xms16m", fmt.Sprintf("-Xmx%dm", heap>>20)}
	return nil
}
