package api

import (
	"net/http"
	"strings"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/console/wire"
	"github.com/stoker-init/stoker/internal/redact"
)

// CodeConsoleOff is the code of every answer of the console while it is not enabled.
const CodeConsoleOff = "console-off"

// podPath begins the paths of Kubernetes. Namespace and pod may be any: there is one container.
const podPath = "/api/v1/namespaces/{namespace}/pods/{pod}"

// execRoutes are those of the console's protocols, and what kubectl asks for before. The three documents of discovery say nothing
// about this container, and without them a wrong token is refused four times.
func (s *Server) execRoutes() []route {
	c := wire.New(s.opts.Sessions)
	served := func(f func(http.ResponseWriter, *http.Request) error) handler {
		return s.withConsole(func(w http.ResponseWriter, r *http.Request) (any, error) { return nil, f(w, r) })
	}
	return []route{
		{"GET /v1/exec", access.Exec, served(c.Exec)},
		{"POST /v1/exec", access.Exec, served(c.Post)},
		{"GET /v1/sessions/{id}/attach", access.Exec, served(func(w http.ResponseWriter, r *http.Request) error {
			return c.Attach(w, r, r.PathValue("id"))
		})},
		{"GET /api", 0, s.withConsole(value(wire.Versions))},
		{"GET /apis", 0, s.withConsole(value(wire.Groups))},
		{"GET /api/v1", 0, s.withConsole(value(wire.Resources))},
		{"GET " + podPath, access.View, s.withConsole(s.pod)},
		{"GET " + podPath + "/exec", access.Exec, served(c.ExecPod)},
		{"POST " + podPath + "/exec", access.Exec, served(c.RefuseSPDY)},
	}
}

// withConsole refuses requests while the console is off.
func (s *Server) withConsole(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		if !s.consoleOn() {
			return nil, console.ErrOff
		}
		return handle(w, r)
	}
}

func (s *Server) consoleOn() bool { return s.opts.Sessions != nil && s.opts.Sessions.Enabled() }

// fail writes an error in the form that the clients of the route expect: as an Error, or at a path of Kubernetes as its Status.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	access.SetHeaders(w.Header(), err)
	why := refusal(err)
	if r.URL.Path != "/api" && r.URL.Path != "/apis" && !strings.HasPrefix(r.URL.Path, "/api/") {
		var e Error
		e.Error.Code, e.Error.Message, e.Error.Hint = why.Code, redact.Text(why.Message), redact.Text(why.Hint)
		e.addJob(w.Header(), err)
		writeJSON(w, why.Status, e)
		return
	}
	message := redact.Text(why.Message)
	if why.Hint != "" {
		message += " (" + redact.Text(why.Hint) + ")"
	}
	writeJSON(w, why.Status, wire.Failure(why.Status, message))
}

// pod describes this container: each service is a container of the pod, the main one the first.
func (s *Server) pod(_ http.ResponseWriter, r *http.Request) (any, error) {
	return wire.NewPod(r.PathValue("namespace"), r.PathValue("pod"), s.serviceNames()), nil
}
