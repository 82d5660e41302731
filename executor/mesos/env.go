package mesos

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// tokenVariable has the secret that authenticates the executor.
const tokenVariable = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"

// Defaults of the agent, for what a broken or old one leaves out.
const (
	defaultShutdownGrace = 5 * time.Second
	defaultRecovery      = 15 * time.Minute
	defaultBackoff       = 2 * time.Second
)

// Environment is what an agent tells its executor.
type Environment struct {
	Framework, Executor string
	// Run is the folder of this run of the executor on the agent; a later run has another one.
	Run string
	// URL is that of the executor API, and Socket the Unix socket to reach it; empty: TCP.
	URL, Socket string
	token       string
	// Checkpoint means that the agent recovers its executors when it is restarted, within Recovery; without it they end with it.
	Checkpoint bool
	Recovery   time.Duration
	// Backoff is within what time a recovered agent wants to hear from its executors.
	Backoff time.Duration
	// ShutdownGrace is from SHUTDOWN to the end of the container.
	ShutdownGrace time.Duration
	// err is what is missing or broken.
	err error
}

// TakeEnvironment reads the environment of this process. It removes the authentication token from it, so that no other program
// inherits that.
func TakeEnvironment() Environment {
	e, err := parseEnvironment(os.Getenv)
	e.err = err
	_ = os.Unsetenv(tokenVariable) // fails only for a name with "="
	return e
}

func parseEnvironment(get func(string) string) (e Environment, err error) {
	e = Environment{Framework: get("MESOS_FRAMEWORK_ID"), Executor: get("MESOS_EXECUTOR_ID"), Run: get("MESOS_DIRECTORY"),
		Socket: get("MESOS_DOMAIN_SOCKET"), token: get(tokenVariable)}
	for _, name := range []string{"MESOS_FRAMEWORK_ID", "MESOS_EXECUTOR_ID"} {
		if get(name) == "" {
			return e, fmt.Errorf("%s is not set: was stoker started by a Mesos agent?", name)
		}
	}
	if e.URL, err = agentURL(get("MESOS_SLAVE_PID"), get("MESOS_AGENT_ENDPOINT"), e.Socket); err != nil {
		return e, err
	}
	switch checkpoint := get("MESOS_CHECKPOINT"); checkpoint {
	case "1":
		e.Checkpoint = true
	case "", "0":
	default:
		return e, fmt.Errorf("MESOS_CHECKPOINT is %.60q, neither 0 nor 1", checkpoint)
	}
	for _, d := range []struct {
		name     string
		fallback time.Duration
		to       *time.Duration
	}{
		{"MESOS_RECOVERY_TIMEOUT", defaultRecovery, &e.Recovery},
		{"MESOS_SUBSCRIPTION_BACKOFF_MAX", defaultBackoff, &e.Backoff},
		{"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", defaultShutdownGrace, &e.ShutdownGrace},
	} {
		if *d.to, err = parseDuration(get(d.name), d.fallback); err != nil {
			return e, fmt.Errorf("%s is broken: %w", d.name, err)
		}
	}
	if !e.Checkpoint {
		e.Recovery = 0
	}
	return e, nil
}

// apiPath is the path of the executor API.
const apiPath = "/api/v1/executor"

// agentURL returns the URL of the executor API for a libprocess address such as "slave(1)@10.0.0.5:5051", else for an endpoint
// "10.0.0.5:5051", else for a socket.
func agentURL(pid, endpoint, socket string) (string, error) {
	path, name := "", "MESOS_AGENT_ENDPOINT"
	if pid != "" {
		id, address, ok := strings.Cut(pid, "@")
		if !ok || id == "" || strings.ContainsAny(id, "/?# ") {
			return "", fmt.Errorf("MESOS_SLAVE_PID is %.60q, no address such as slave(1)@10.0.0.5:5051", pid)
		}
		path, endpoint, name = "/"+id, address, "MESOS_SLAVE_PID"
	}
	if endpoint == "" && socket != "" {
		endpoint = "localhost:80" // for the header Host
	}
	if endpoint == "" {
		return "", fmt.Errorf("%s is not set: was stoker started by a Mesos agent?", name)
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" || strings.ContainsAny(host, "/?#@ ") {
		return "", fmt.Errorf("%s is %.60q, no host and port", name, endpoint)
	}
	return "http://" + net.JoinHostPort(host, port) + path + apiPath, nil
}

// parseDuration reads a duration as Mesos writes it, such as "15mins" or "1.5secs"; empty: the fallback.
func parseDuration(text string, fallback time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	const day = 24 * time.Hour
	units := map[string]time.Duration{"ns": 1, "us": time.Microsecond, "ms": time.Millisecond, "secs": time.Second,
		"mins": time.Minute, "hrs": time.Hour, "days": day, "weeks": 7 * day}
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	n, err := strconv.ParseFloat(number, 64)
	unit := units[text[len(number):]]
	const most = 365 * day
	if d := n * float64(unit); err == nil && unit > 0 && d >= 0 && d <= float64(most) {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("%.60q is not a duration such as 5secs or 15mins", text)
}
