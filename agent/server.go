package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/api"
)

// ContainerHeader is the container that has the job of an answer.
const ContainerHeader = "X-Stoker-Container"

// ownUser is the context key of whether the peer of a connection may ask.
type ownUser struct{}

// Serve answers at a socket until ctx is done. Its routes for jobs are those of a container.
func (f *Fleet) Serve(ctx context.Context, socket string, log hclog.Logger) error {
	l, path, err := api.Listen(socket, os.Getenv)
	if err != nil {
		if conn, dialErr := net.Dial("unix", socket); dialErr == nil {
			conn.Close()
			return fmt.Errorf("cannot listen on %s: another agent answers there", socket)
		}
		return err
	}
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil { // the peer's uid is checked too
		return err
	}
	log.Info("the agent answers", "socket", path, "containers", f.dir)
	server := http.Server{Handler: f.handler(log), ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, ownUser{}, access.OwnUser(c))
		}}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // package executor/client speaks it
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		limited, cancel := context.WithTimeout(context.Background(), answerTime)
		defer cancel()
		if server.Shutdown(limited) != nil {
			_ = server.Close() // streams; their clients ask again
		}
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	<-over
	return nil
}

func (f *Fleet) handler(log hclog.Logger) http.Handler {
	mux := http.NewServeMux()
	proxy := httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "stoker" }}
	forward := func(w http.ResponseWriter, r *http.Request) (any, error) { return nil, f.forward(w, r, proxy) }
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) (any, error){
		"GET /v1/health":     func(http.ResponseWriter, *http.Request) (any, error) { return map[string]string{"status": "ok"}, nil },
		"GET /v1/containers": func(_ http.ResponseWriter, r *http.Request) (any, error) { return f.listContainers(r.Context()) },
		"GET /v1/jobs":       func(_ http.ResponseWriter, r *http.Request) (any, error) { return f.Jobs(r.Context(), r.URL.Query()) },
		"POST /v1/jobs": func(w http.ResponseWriter, r *http.Request) (any, error) {
			return nil, f.submit(w, r, log)
		},
		"/v1/jobs/{id}":           forward,
		"/v1/jobs/{id}/{rest...}": forward,
		"GET /metrics":            f.metrics,
		"/": func(_ http.ResponseWriter, r *http.Request) (any, error) {
			return nil, api.Refuse(http.StatusNotFound, "not-found", "stoker agent ps and stoker job list show what there is",
				"the agent has no %s %s", r.Method, r.URL.Path)
		},
	} {
		mux.HandleFunc(pattern, api.Answer(handle))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if own, _ := r.Context().Value(ownUser{}).(bool); !own {
			api.Answer(func(http.ResponseWriter, *http.Request) (any, error) {
				return nil, api.Refuse(http.StatusForbidden, "forbidden", "ask as root, or as the user that the agent runs as",
					"you may not ask the agent")
			})(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// ContainerList is the answer of GET /v1/containers.
type ContainerList struct {
	Containers []Container `json:"containers"` // by name
}

func (f *Fleet) listContainers(ctx context.Context) (ContainerList, error) {
	all, err := f.Containers(ctx)
	return ContainerList{all}, err
}

// submit places a job: 201, or 200 if a container had it before.
func (f *Fleet) submit(w http.ResponseWriter, r *http.Request, log hclog.Logger) error {
	spec, err := api.ReadSpec(w, r)
	if err != nil {
		return err
	}
	job, created, where, err := f.Submit(r.Context(), spec)
	w.Header().Set(ContainerHeader, where)
	if err != nil {
		if refused := new(api.StatusError); errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
			log.Warn("a job is not placed", "key", spec.Key, "container", where, "error", err)
		}
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if created {
		log.Info("a job is placed", "job", job.ID, "key", job.Spec.Key, "container", where)
		w.Header().Set("Location", "/v1/jobs/"+job.ID.String())
		w.WriteHeader(http.StatusCreated)
	}
	_ = json.NewEncoder(w).Encode(job) // the client may be gone
	return nil
}

// forward passes a request about a job to the container that has it.
func (f *Fleet) forward(w http.ResponseWriter, r *http.Request, proxy httputil.ReverseProxy) error {
	c, err := f.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set(ContainerHeader, c.name)
	proxy.Transport = c.http
	if r.Method == http.MethodGet && (r.PathValue("rest") != "" || r.URL.Query().Has("wait")) { // it may take long
		t := c.stream()
		if t == nil {
			return api.Refuse(http.StatusServiceUnavailable, executor.CodeUnavailable, "try again later, or ask for the job without following it",
				"the agent forwards %d streams of container %s already", maxStreams, c.name)
		}
		defer c.giveBack(t) // ServeHTTP may panic
		proxy.Transport = t
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		api.Answer(func(http.ResponseWriter, *http.Request) (any, error) {
			return nil, api.Refuse(http.StatusServiceUnavailable, executor.CodeUnavailable, "try again",
				"container %s does not answer: %v", c.name, cause(err))
		})(w, r)
	}
	proxy.ServeHTTP(w, r)
	return nil
}
