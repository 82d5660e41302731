package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
	"github.com/stoker-init/stoker/internal/httpload"
)

// The load over a restart of Tomcat.
const (
	loadClients = 16
	loadPause   = 5 * time.Millisecond
	loadTail    = time.Second // after the first answer
	tomcatImage = "stoker-demo"
)

// tomcatBase is a CATALINA_BASE with the demo application.
type tomcatBase struct {
	home, path string
	port       int
}

func (b *bench) newTomcatBase(port int) (tomcatBase, error) {
	homes, err := filepath.Glob("/usr/share/tomcat[0-9]*/skel")
	if err != nil || len(homes) == 0 {
		return tomcatBase{}, errors.New("this machine has no Tomcat of Debian")
	}
	dir, err := os.MkdirTemp(b.work, "base-")
	if err != nil {
		return tomcatBase{}, err
	}
	t := tomcatBase{filepath.Dir(homes[len(homes)-1]), dir, port}
	const script = `set -e
sh scripts/base.sh "$1" "$2"
cp -r testdata/webapp "$2/webapps/app"
sed -i "s/port=\"8080\"/port=\"$3\"/" "$2/conf/server.xml"`
	return t, output(exec.Command("sh", "-c", script, "sh", t.home, t.path, strconv.Itoa(port)))
}

// address is that of Tomcat.
func (t tomcatBase) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.port)) }

// output runs a command; its error has the output.
func output(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot run %q: %w: %.500s", cmd.Args, err, out)
	}
	return nil
}

// stokerConfig is the configuration of a Tomcat; more are further lines of its service.
func (t tomcatBase) stokerConfig(dir, more string) string {
	return fmt.Sprintf(`api: {socket: %s/api.sock}
services:
  tomcat:
    kind: tomcat
    tomcat: {home: %s, base: %s}
    ready: {http: "http://%s/app/health"}
%s`, dir, t.home, t.path, t.address(), more)
}

// keeper is one way to keep a Tomcat running.
type keeper struct {
	name   string
	start  func(t tomcatBase) (restart *exec.Cmd, stop func(), err error)
	counts httpload.Counts // the sum of all restarts
	took   []float64       // from the restart to the next answer, ms
}

// inBox starts a peer in a PID namespace of its own.
func (b *bench) inBox(program string, args func(dir string) ([]string, error)) (*box, error) {
	x, _, err := b.open(peer{name: filepath.Base(program), program: program,
		args: func(dir string, _ []service) ([]string, error) { return args(dir) }}, func(string) []service { return nil })
	return x, err
}

// underStoker starts Tomcat under stoker; listen says that stoker keeps the socket.
func (b *bench) underStoker(program string, listen bool) func(t tomcatBase) (*exec.Cmd, func(), error) {
	return func(t tomcatBase) (*exec.Cmd, func(), error) {
		more := ""
		if listen {
			more = fmt.Sprintf("    listen: [{name: http, tcp: \":%d\"}]\n", t.port)
		}
		x, err := b.inBox(program, func(dir string) ([]string, error) {
			path := filepath.Join(dir, "stoker.yaml")
			return []string{"run", "--config", path}, os.WriteFile(path, []byte(t.stokerConfig(dir, more)), 0o600)
		})
		if err != nil {
			return nil, nil, err
		}
		restart := exec.Command(program, "restart", "--wait", "tomcat")
		restart.Env = append(os.Environ(), "STOKER_SOCKET="+filepath.Join(x.dir, "api.sock"))
		return restart, x.close, nil
	}
}

func (b *bench) underSupervisor(program string) func(t tomcatBase) (*exec.Cmd, func(), error) {
	return func(t tomcatBase) (*exec.Cmd, func(), error) {
		var conf string
		x, err := b.inBox(program, func(dir string) ([]string, error) {
			conf = filepath.Join(dir, "supervisord.conf")
			text := fmt.Sprintf("[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=%[1]s/pid\n"+
				"[unix_http_server]\nfile=%[1]s/s\n[supervisorctl]\nserverurl=unix://%[1]s/s\n"+
				"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"+
				"[program:tomcat]\ncommand=%[2]s/bin/catalina.sh run\nenvironment=CATALINA_HOME=%[2]q,CATALINA_BASE=%[3]q\nautorestart=true\n",
				dir, t.home, t.path)
			return []string{"-c", conf}, os.WriteFile(conf, []byte(text), 0o600)
		})
		if err != nil {
			return nil, nil, err
		}
		return exec.Command("supervisorctl", "-c", conf, "restart", "tomcat"), x.close, nil
	}
}

func (b *bench) underPebble(program string) func(t tomcatBase) (*exec.Cmd, func(), error) {
	return func(t tomcatBase) (*exec.Cmd, func(), error) {
		var env []string
		x, err := b.inBox("/bin/sh", func(dir string) ([]string, error) {
			if err := os.Mkdir(filepath.Join(dir, "layers"), 0o755); err != nil {
				return nil, err
			}
			text := fmt.Sprintf("services:\n  tomcat:\n    override: replace\n    startup: enabled\n    kill-delay: 10s\n"+
				"    command: %[1]s/bin/catalina.sh run\n    environment: {CATALINA_HOME: %[1]s, CATALINA_BASE: %[2]s}\n", t.home, t.path)
			env = []string{"PEBBLE=" + dir, "PEBBLE_SOCKET=" + filepath.Join(dir, "s")}
			args := []string{"-c", fmt.Sprintf("export %s; exec %s run", strings.Join(env, " "), program)}
			return args, os.WriteFile(filepath.Join(dir, "layers/001-tomcat.yaml"), []byte(text), 0o600)
		})
		if err != nil {
			return nil, nil, err
		}
		restart := exec.Command(program, "restart", "tomcat")
		restart.Env = append(os.Environ(), env...)
		return restart, x.close, nil
	}
}

// underDocker runs catalina.sh as PID 1 of a container in this network.
func underDocker(t tomcatBase) (*exec.Cmd, func(), error) {
	out, err := exec.Command("docker", "run", "-d", "--network", "host", "-e", "CATALINA_HOME="+t.home, "-e", "CATALINA_BASE="+t.path,
		"-v", t.path+":"+t.path, "--entrypoint", t.home+"/bin/catalina.sh", tomcatImage, "run").CombinedOutput()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot start a container: %w: %.300s", err, out)
	}
	id := strings.TrimSpace(string(out))
	return exec.Command("docker", "restart", id), func() { _ = exec.Command("docker", "rm", "-f", id).Run() }, nil
}

// keepers are the ways that this machine has.
func (b *bench) keepers() []*keeper {
	var out []*keeper
	for _, p := range b.peers {
		switch p.name {
		case stokerName:
			out = append(out, &keeper{name: p.name, start: b.underStoker(p.program, true)},
				&keeper{name: p.name + " without listen", start: b.underStoker(p.program, false)})
		case "stoker before":
			out = append(out, &keeper{name: p.name, start: b.underStoker(p.program, false)})
		case "Supervisor":
			out = append(out, &keeper{name: p.name, start: b.underSupervisor(p.program)})
		}
	}
	if _, err := os.Stat(b.pebble); b.pebble != "" && err == nil {
		out = append(out, &keeper{name: "pebble", start: b.underPebble(b.pebble)})
	}
	if err := exec.Command("docker", "image", "inspect", tomcatImage).Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: docker restart is left out:", err)
		return out
	}
	return append(out, &keeper{name: "docker restart", start: underDocker})
}

// awaitTomcat waits for the first answer 200 of a new connection.
func awaitTomcat(t tomcatBase, within time.Duration) error {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		l := httpload.Start(httpload.Options{Network: "tcp", Address: t.address(), Path: "/app/health", Clients: 1, Within: within, Requests: 1})
		if l.Wait().Answered == 1 {
			return nil
		}
	}
	return fmt.Errorf("cannot measure: Tomcat did not answer within %v", within)
}

// restartUnderLoad restarts Tomcat once.
func (k *keeper) restartUnderLoad(b *bench) error {
	port, reserved, err := freeport.Reserve()
	if err != nil {
		return err
	}
	defer reserved.Close()
	t, err := b.newTomcatBase(port)
	if err != nil {
		return err
	}
	restart, stop, err := k.start(t)
	if err != nil {
		return err
	}
	defer stop()
	if err := awaitTomcat(t, time.Minute); err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	time.Sleep(3 * time.Second) // it settles
	l := httpload.Start(httpload.Options{Network: "tcp", Address: t.address(), Path: "/app/health", Clients: loadClients, Pause: loadPause,
		Within: time.Minute})
	time.Sleep(time.Second)
	began := time.Now()
	err = output(restart)
	if err == nil {
		err = awaitTomcat(t, time.Minute)
	}
	k.took = append(k.took, since(began))
	time.Sleep(loadTail)
	c := l.Stop()
	sum := &k.counts
	sum.Answered, sum.Refused, sum.Reset = sum.Answered+c.Answered, sum.Refused+c.Refused, sum.Reset+c.Reset
	sum.Lost, sum.Other, sum.Slowest = sum.Lost+c.Lost+c.Late, sum.Other+c.Other, max(sum.Slowest, c.Slowest)
	return err
}

// tomcat measures what 16 clients see of a restart of Tomcat.
func (b *bench) tomcat() (string, error) {
	all, rounds := b.keepers(), max(1, b.rounds/5)
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "tomcat: round %d of %d\n", round+1, rounds)
		for _, k := range all {
			if err := k.restartUnderLoad(b); err != nil {
				return "", err
			}
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\n%d clients that keep their connections, over a restart of Tomcat; sums of %d restarts.\n\n"+
		"| kept by | refused | reset | lost | other statuses | answered | slowest (ms) | restart to the next answer (ms) |\n|---|%s\n",
		loadClients, rounds, strings.Repeat("---:|", 7))
	for _, k := range all {
		took, _ := median(k.took)
		c := k.counts
		fmt.Fprintf(&out, "| %s | %d | %d | %d | %d | %d | %d | %s |\n", k.name, c.Refused, c.Reset, c.Lost, c.Other, c.Answered,
			c.Slowest.Milliseconds(), figure(took))
	}
	return out.String(), nil
}
