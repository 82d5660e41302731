package api

import (
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/supervisor"
)

// countLabels are the labels of a hook's counter.
func countLabels(c hooks.Counter) []string {
	out := []string{"event", string(c.Event), "hook", c.Hook}
	if c.Plugin != "" {
		out = append(out, "plugin", c.Plugin)
	}
	return append(out, "result", c.Result)
}

// metrics answers in the text format of Prometheus, version 0.0.4.
func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) (any, error) {
	var x exposition
	x.family("stoker_build_info", "gauge", "The version that runs; always 1.")
	x.sample(1, "version", s.opts.Version, "go_version", runtime.Version())
	ready, _ := s.opts.Backend.Ready()
	x.single("stoker_ready", "gauge", "1 if every service is ready, as GET /v1/ready.", boolean(ready))
	s.serviceMetrics(&x, s.opts.Backend.Services())
	var incidents uint64
	if list := s.opts.Backend.Incidents(); len(list) > 0 {
		incidents = list[0].Number // numbered from 1, and the newest is always kept
	}
	x.single("stoker_incidents_total", "counter", "Incidents (failed starts and unexpected ends of services) since the container started.",
		float64(incidents))
	x.single("stoker_orphans_total", "counter", "Orphaned processes reaped.", float64(s.opts.Backend.Orphans()))
	x.single("stoker_events_total", "counter", "Events since the container started.", float64(s.opts.Events.Last()))
	x.single("stoker_goroutines", "gauge", "Goroutines of the supervisor.", float64(runtime.NumGoroutine()))
	if n := s.opts.Backend.Network(); n != nil {
		networkMetrics(&x, n)
	}
	s.hookMetrics(&x)
	if m := s.opts.Backend.JobMetrics; m != nil {
		jobMetrics(&x, m.Metrics())
	}
	if m := s.opts.Sessions; m != nil && m.Enabled() {
		s.sessionMetrics(&x)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, x.String()) // the client may be gone
	return nil, nil
}

func (s *Server) serviceMetrics(x *exposition, all []supervisor.Snapshot) {
	x.family("stoker_service_state", "gauge", "1 for the state of the service, 0 for the others.")
	for _, snap := range all {
		for _, state := range supervisor.States() {
			x.sample(boolean(snap.State == state), "service", snap.Name, "state", string(state))
		}
	}
	x.family("stoker_service_up", "gauge", "1 if the service is RUNNING.")
	for _, snap := range all {
		x.sample(boolean(snap.State == supervisor.Running), "service", snap.Name)
	}
	x.family("stoker_service_restarts_total", "counter", "Starts of the service after its first one, including failed ones.")
	for _, snap := range all {
		x.sample(float64(max(snap.Starts, 1)-1), "service", snap.Name)
	}
	x.family("stoker_service_start_time_seconds", "gauge",
		"Start time of the service's process since the Unix epoch; absent without a process.")
	for _, snap := range all {
		if snap.UpSince != nil {
			x.sample(float64(snap.UpSince.UnixMilli())/1000, "service", snap.Name)
		}
	}
	x.family("stoker_output_dropped_lines_total", "counter", "Lines of output not forwarded or lost; absent where output is not captured.")
	for _, snap := range all {
		if snap.Output != nil {
			x.sample(float64(snap.Output.DroppedLines+snap.Output.LostLines), "service", snap.Name)
		}
	}
	x.family("stoker_output_dropped_bytes_total", "counter",
		"Bytes of output not forwarded or lost; absent where output is not captured.")
	for _, snap := range all {
		if snap.Output != nil {
			x.sample(float64(snap.Output.DroppedBytes+snap.Output.LostBytes), "service", snap.Name)
		}
	}
	x.family("stoker_output_file_dropped_bytes_total", "counter",
		"Bytes of output that could not be written to the service's file in time; absent without a file.")
	for _, snap := range all {
		if snap.Output != nil && snap.Output.File != nil {
			x.sample(float64(snap.Output.File.DroppedBytes), "service", snap.Name)
		}
	}
	socketMetrics(x, all)
}

func socketMetrics(x *exposition, all []supervisor.Snapshot) {
	each := func(value func(k supervisor.Socket) float64) {
		for _, snap := range all {
			for _, k := range snap.Listen {
				x.sample(value(k), "service", snap.Name, "socket", k.Name)
			}
		}
	}
	x.family("stoker_socket_waiting", "gauge",
		"Connections that the service has not accepted yet; absent for a socket that is not open.")
	each(func(k supervisor.Socket) float64 { return float64(k.Waiting) })
	x.family("stoker_socket_backlog", "gauge", "Connections that may wait to be accepted.")
	each(func(k supervisor.Socket) float64 { return float64(k.Backlog) })
	x.family("stoker_socket_full_total", "counter", "How often the queue of the socket was seen to become full.")
	each(func(k supervisor.Socket) float64 { return float64(k.Fills) })
}

func (s *Server) hookMetrics(x *exposition) {
	x.family("stoker_plugin_state", "gauge", "1 for the state of the plugin, 0 for the others.")
	for _, p := range s.opts.Backend.Plugins(false) {
		for _, state := range plugin.States() {
			x.sample(boolean(p.State == state), "plugin", p.Name, "state", string(state))
		}
	}
	counts := s.opts.Backend.Counters()
	x.family("stoker_hook_runs_total", "counter", "Runs of a hook by result.")
	for _, c := range counts {
		x.sample(float64(c.Runs), countLabels(c)...)
	}
	x.family("stoker_hook_seconds_total", "counter", "Total run time of a hook by result.")
	for _, c := range counts {
		x.sample(c.Took.Seconds(), countLabels(c)...)
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

type exposition struct {
	strings.Builder
	name string // of the current family
	head string // written before its first sample
}

// family starts a metric. It is left out if it has no sample.
func (x *exposition) family(name, kind, help string) {
	x.name = name
	x.head = "# HELP " + name + " " + strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help) + "\n# TYPE " + name + " " + kind + "\n"
}

// single adds a metric with one sample.
func (x *exposition) single(name, kind, help string, value float64) {
	x.family(name, kind, help)
	x.sample(value)
}

// sample adds a value with its labels, names and values in turn.
func (x *exposition) sample(value float64, labels ...string) {
	x.WriteString(x.head)
	x.head = ""
	x.WriteString(x.name)
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for k := 0; k < len(labels); k += 2 {
		sep := ","
		if k == 0 {
			sep = "{"
		}
		x.WriteString(sep + labels[k] + `="` + quote.Replace(strings.ToValidUTF8(labels[k+1], "\ufffd")) + `"`)
	}
	if len(labels) > 0 {
		x.WriteByte('}')
	}
	x.WriteString(" " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}
