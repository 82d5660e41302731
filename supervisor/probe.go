package supervisor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// Probes gives the probe of what is configured; nil: nothing is to be looked
// at. With several kinds all must hold. start starts the exec probe's command.
func (r Look) Probes(start func(ctx context.Context, argv []string) (code int, output string, err error)) Probe {
	var all []Probe
	if r.TCP != "" {
		all = append(all, tcpProbe(r.TCP))
	}
	if r.HTTP != "" {
		all = append(all, HTTPProbe(r.HTTP, r.Status))
	}
	if len(r.Exec) > 0 {
		all = append(all, execProbe(r.Exec, start))
	}
	if len(all) == 0 {
		return nil
	}
	return ProbeFunc(func(ctx context.Context, p Process) error {
		for _, probe := range all {
			if err := probe.Check(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
}

func tcpProbe(address string) Probe {
	return ProbeFunc(func(ctx context.Context, _ Process) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("tcp %s: %s", address, netCause(err))
		}
		return conn.Close()
	})
}

// HTTPProbe asks url, and wants one of status (empty: 200 to 399). It follows no
// redirection, takes no proxy from the environment and does not check
// certificates: it asks the service, not somebody it must trust.
func HTTPProbe(url string, status []int) Probe {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return ProbeFunc(func(ctx context.Context, _ Process) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "stoker")
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("GET %s: %s", url, netCause(err))
		}
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
		resp.Body.Close()
		ok := resp.StatusCode >= 200 && resp.StatusCode < 400
		if len(status) > 0 {
			ok = slices.Contains(status, resp.StatusCode)
		}
		if !ok {
			return fmt.Errorf("GET %s: answered %s", url, resp.Status)
		}
		return nil
	})
}

// netCause strips what the caller says anyway.
func netCause(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused (nothing listens there)"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

func execProbe(argv []string, start func(context.Context, []string) (int, string, error)) Probe {
	return ProbeFunc(func(ctx context.Context, _ Process) error {
		code, output, err := start(ctx, argv)
		switch {
		case err != nil:
			return err
		case code != 0:
			last := strings.TrimSpace(output)
			last = last[strings.LastIndexByte(last, '\n')+1:]
			return fmt.Errorf("%s: exit code %d %.200s", argv[0], code, last)
		}
		return nil
	})
}

// LogWatch gives a Watch for the line that readiness waits for.
func LogWatch(pattern string) (func(line []byte) Observation, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return func(line []byte) Observation { return Observation{Match: re.Match(line)} }, nil
}

// RunCommand runs argv to its end in our own name, for probes: killed with its
// group when ctx is done. It gives the exit code by shell convention and the
// output.
func RunCommand(ctx context.Context, m *proc.Manager, spec proc.Spec) (code int, output string, err error) {
	log, err := proc.NewScratchLog(spec.ID)
	if err != nil {
		return 0, "", err
	}
	defer log.Close() // may come while a descendant still writes
	spec.Log = log
	p, err := m.Start(ctx, spec)
	if err != nil {
		return 0, "", err
	}
	select {
	case <-p.Exited():
	case <-ctx.Done():
		p.SignalGroup(syscall.SIGKILL)
		select {
		case <-p.Exited():
		case <-time.After(time.Second):
		}
		err = ctx.Err()
	}
	x, ended := p.Exit()
	if ended {
		p.Done()
	} else {
		go func() { // ends with the process
			<-p.Exited()
			p.Done()
		}()
		return 0, "", fmt.Errorf("cannot end %s (pid %d): it does not die", spec.Argv[0], p.Pid())
	}
	return x.Status(), log.Text(), err
}
