package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// foreignKeys are what users of Supervisor, compose and systemd write in a service.
func foreignKeys() []string {
	return []string{
		// Supervisor
		"startsecs: 10", "startretries: 3", "autorestart: unexpected", "autorestart: true", "autorestart: false", "exitcodes: 0,2",
		"exitcodes: [0, 2]",
		"stopsignal: QUIT", "stopwaitsecs: 30", "stopasgroup: true", "killasgroup: true", "priority: 10", "numprocs: 4", "process_name: x",
		"directory: /srv", "directory: '%(here)s'", `environment: A="1",B="2,3"`, "stdout_logfile: /var/log/x.log", "stdout_logfile: AUTO",
		"stdout_logfile: /dev/stdout",
		"stdout_logfile: NONE", "stderr_logfile: /var/log/x.err", "stdout_logfile_maxbytes: 50MB", "stdout_logfile_backups: 3",
		"redirect_stderr: true",
		"stdout_events_enabled: true", "serverurl: AUTO",
		// compose
		"environment: {A: '1', B: two}", "environment: [A=1, B=two words]", "environment: {DB_PASSWORD: hunter2}", "environment: {}",
		"env_file: .env", "env_file: [a.env, b.env]",
		"working_dir: /srv", "entrypoint: [java, -jar, app.jar]", "entrypoint: java -jar app.jar", "entrypoint: java $OPTS -jar 'a b.jar'",
		"depends_on: [db, redis]", "depends_on: {db: {condition: service_healthy}}",
		"healthcheck: {test: [CMD, curl, -f, localhost], interval: 30s, timeout: 3s, retries: 5}",
		"healthcheck: {test: [CMD-SHELL, 'curl -f localhost || exit 1'], interval: 1m}", "healthcheck: {test: curl localhost}",
		"stop_grace_period: 1m30s", "stop_signal: SIGINT",
		"ulimits: {nofile: {soft: 20000, hard: 40000}, nproc: 65535}", "cap_drop: [ALL]", "group_add: [mail]", "mem_limit: 512m", "cpus: '0.5'",
		"image: tomcat:10",
		"ports: ['8080:8080']", "volumes: ['/data:/data']", "security_opt: ['no-new-privileges:true']", "deploy: {}",
		// systemd
		"ExecStart: /usr/bin/java -jar /app.jar", "ExecStartPre: -/bin/mkdir -p /run/x", "ExecStartPost: /bin/true",
		"ExecStop: /bin/kill -TERM $MAINPID", "ExecStopPost: rm -f /x",
		"ExecReload: x", "Environment: A=1 B=2", "EnvironmentFile: -/etc/default/x", "WorkingDirectory: /srv", "Group: staff",
		"SupplementaryGroups: mail", "Restart: on-abnormal",
		"Restart: no", "RestartSec: 5", "RestartSec: 1min", "StartLimitBurst: 3", "StartLimitIntervalSec: 60", "TimeoutStartSec: 90",
		"TimeoutStopSec: infinity", "KillSignal: SIGINT",
		"KillMode: mixed", "LimitNOFILE: 65536", "LimitCORE: infinity", "OOMScoreAdjust: 100", "Type: oneshot", "Type: forking",
		"RemainAfterExit: true", "SuccessExitStatus: 143 SIGKILL",
		"SuccessExitStatus: 143", "Requires: db.service", "Wants: db.service redis.service", "After: db.service", "Before: db.service",
		"StandardOutput: journal", "StandardOutput: append:/var/log/x.log",
		"StandardError: 'null'", "CapabilityBoundingSet: CAP_NET_RAW", "CapabilityBoundingSet: ~CAP_NET_RAW CAP_CHOWN", "CPUQuota: 150%",
		"MemoryMax: 1G", "WatchdogSec: 30", "PIDFile: /run/x.pid",
		// Ours, in the wrong place.
		"hooks: {ready: [{name: x, command: [y]}]}", "jvm: {user: {options: [-Xmx1g]}}", "log: {level: debug}", "log_level: debug",
		"labels: {a: b}", "plugins: {}", "main: a",
		"live: {exec: [x], interval: 5s}", "live: {test: curl -f localhost}", "live: {http: 'http://h/', retries: 3}",
		"live: {exec: [x], start_period: 3s}", "ready: {port: 8080}", "ready: {url: 'http://h/'}",
		// A value in the place of a section, and other forms.
		"restart: on-failure", "restart: unless-stopped", "restart: on-failure:5", "restart: 'no'", "restart: {backoff: 5}",
		"restart: {limit: 3}", "stop: 10s", "stop: 10", "stop: SIGINT",
		"ready: 'http://127.0.0.1/x'", "ready: 8080", "output: /var/log/x.log", "output: json", "output: {file: /var/log/x.log}",
		"cgroup: 512MiB", "env: [A=1, B=2]", "env: A=1",
		"requires: db", "env_files: /etc/x.env", "secrets: [db_password]",
	}
}

const (
	aroundService = "services:\n  other: {command: [x]}\n  db: {command: [x]}\n  redis: {command: [x]}\n  a:\n"
	itsCommand    = "    command: [x]\n"
)

// TestForeignKeys has one line for each: what was written, and what is reported about it.
// What a hint tells to write is written, and must be right.
func TestForeignKeys(t *testing.T) {
	var report strings.Builder
	for _, given := range foreignKeys() {
		_, err := loadText(t, aroundService+"    "+given+"\n"+itsCommand)
		var ps layeredyaml.Problems
		if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Line != 6 {
			t.Errorf("%s: not one problem in its line: %v", given, err)
			continue
		}
		p := ps[0]
		fmt.Fprintf(&report, "%s\n    %s: %s (%s)\n", given, p.Path, p.Message, p.Hint)
		if strings.Contains(p.Hint, "hunter2") {
			t.Errorf("a secret is shown: %s", p.Hint)
		}
		for _, doc := range followed(t, given, p) {
			if _, err := loadText(t, doc); err != nil {
				t.Errorf("%s: the hint %q leads to\n%s%v", given, p.Hint, doc, err)
			}
		}
	}
	golden(t, "testdata/foreign.golden", report.String())
}

// followed is the file after the hint of a problem was followed.
func followed(t *testing.T, given string, p layeredyaml.Problem) []string {
	t.Helper()
	line, isWrite := strings.CutPrefix(p.Hint, "write ")
	if !isWrite {
		if !strings.HasPrefix(p.Hint, "remove it") {
			t.Errorf("%s: the hint %q says nothing to do", given, p.Hint)
		}
		return nil
	}
	line, top := strings.CutPrefix(line, "at the top of the file ")
	section, _, nested := strings.Cut(given, ": {")
	switch {
	case top && strings.HasPrefix(line, "services: "):
		return []string{firstFlow(line) + "\n"}
	case top:
		return []string{aroundService + itsCommand + firstFlow(line) + "\n"}
	case strings.HasPrefix(line, "["): // a list for the same key
		key, _, _ := strings.Cut(given, ":")
		line = key + ": " + line
	case nested && strings.HasPrefix(p.Path, "services.a."+section+"."): // a key within a section
		more := ""
		if strings.HasPrefix(section, "live") && !strings.HasPrefix(line, "exec") {
			more = ", exec: [x]"
		}
		line = section + ": {" + firstFlow(line) + more + "}"
	}
	line = firstFlow(line)
	command := itsCommand
	if strings.HasPrefix(line, "command:") {
		command = ""
	}
	return []string{aroundService + "    " + line + "\n" + command}
}

// firstFlow is what a hint tells to write: what stands behind it explains.
func firstFlow(hint string) string {
	line, _, _ := strings.Cut(hint, "; ")
	return line
}

// At the top of the file, too, what a hint tells to write is right.
func TestForeignTop(t *testing.T) {
	var report strings.Builder
	for _, given := range []string{"version: '3'", "program:web: {command: java -jar app.jar}", "programs: {}", "command: [x]",
		"ready: {tcp: 'h:1'}", "volumes: {}", "networks: {}",
		"supervisord: {nodaemon: true}", "Service: {ExecStart: x}", "Unit: {}", "x-common: &c {}", "stop: 5s", "log: debug", "jvm: -Xmx1g",
		"services: {a: java -jar x.jar}",
		"services: {a: 'java $X | tee log'}", "services: {a: [java, -jar, x.jar]}", "services: {t: {kind: tomcat, tomcat: /opt/tomcat}}",
		"services: {j: {kind: java, java: /app/x.jar}}"} {
		_, err := loadText(t, given+"\n")
		var ps layeredyaml.Problems
		if !errors.As(err, &ps) {
			t.Errorf("%s: %v", given, err)
			continue
		}
		p := ps[0]
		fmt.Fprintf(&report, "%s\n    %s: %s (%s)\n", given, p.Path, p.Message, p.Hint)
		line, isWrite := strings.CutPrefix(p.Hint, "write ")
		line, _ = strings.CutPrefix(line, "at the top of the file ")
		switch {
		case !isWrite && !strings.HasPrefix(p.Hint, "remove it"):
			t.Errorf("%s: the hint %q says nothing to do", given, p.Hint)
		case !isWrite:
			continue
		case strings.HasPrefix(p.Path, "services.t"):
			line = "services: {t: {kind: tomcat, " + firstFlow(line) + "}}"
		case strings.HasPrefix(p.Path, "services.j"):
			line = "services: {j: {kind: java, " + firstFlow(line) + "}}"
		case strings.HasPrefix(p.Path, "services."):
			line = "services: {" + firstFlow(line) + "}"
		}
		if _, err := loadText(t, firstFlow(line)+"\n"); err != nil {
			t.Errorf("%s: the hint %q leads to\n%s\n%v", given, p.Hint, firstFlow(line), err)
		}
	}
	golden(t, "testdata/foreigntop.golden", report.String())
}

// No key of ours is taken for another program's.
func TestForeignLeavesOurs(t *testing.T) {
	for _, section := range []reflect.Type{reflect.TypeFor[Service](), reflect.TypeFor[Config]()} {
		for i := range section.NumField() {
			key, _, _ := strings.Cut(section.Field(i).Tag.Get("yaml"), ",")
			if slices.Contains([]string{"requires", "after", "restart"}, key) { // systemd writes them with a capital
				continue
			}
			if a, ok := adviseKey(section, "services.a", key, layeredyaml.Value{}); ok && section == reflect.TypeFor[Service]() {
				t.Errorf("%s: %+v", key, a)
			}
		}
	}
}

// A flag or a variable with another program's key has the same hint as that key in a file.
func TestForeignSettings(t *testing.T) {
	file := write(t, map[string]string{"stoker.yaml": "services: {my-app: {command: [x]}, other: {command: [x]}}\n"})
	for given, want := range map[string]string{
		"restart=on-failure": "write restart: {policy: on-failure}",
		"startretries=2":     "write restart: {limit: {starts: 2, retry_every: 0s}}",
		"exitcodes=0,2":      "write success_codes: [0, 2]",
		"ExecStart=a b":      `write command: ["a", "b"]`,
		"ExecStartPost=a":    `write at the top of the file hooks: {started: [{name: my-app, command: ["a"], services: [my-app]}]}`,
		"live.interval=5s":   "write every: 5s",
		"killasgroup=true":   "remove it; ",
		"comand=[x]":         `did you mean "command"?`,
	} {
		_, err := Load(Options{File: file, Set: []string{"services.my-app." + given}})
		if err == nil || !strings.Contains(err.Error(), "("+want) {
			t.Errorf("--set %s: %v\nwant %s", given, err, want)
		}
	}
	for given, want := range map[string]string{
		"RESTART=no":           "write restart: {policy: never}",
		"STOP_GRACE_PERIOD=9s": "write stop: {timeout: 9s}",
		"USR=app":              "did you mean STOKER_SERVICES_MY_APP_USER?",
	} {
		l, err := Load(Options{File: file, Environ: []string{"STOKER_SERVICES_MY_APP_" + given}})
		if err != nil || len(l.Warnings) == 0 || !strings.Contains(l.Warnings[0].Hint, want) {
			t.Errorf("%s: %v %v, want %s", given, err, l, want)
		}
	}
}

// A command is a list wherever it stands.
func TestCommandIsAList(t *testing.T) {
	for _, given := range []string{"command: a b", "live: {exec: a b}"} {
		_, err := loadText(t, aroundService+"    "+given+"\n")
		if err == nil || !strings.Contains(err.Error(), `is text, not a list (write ["a", "b"])`) {
			t.Errorf("%s: %v", given, err)
		}
	}
}

// A type that is renamed keeps its advice.
func TestAdviceIsAboutTypesOfTheSchema(t *testing.T) {
	known := map[string]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Map, reflect.Slice, reflect.Array, reflect.Pointer:
			walk(t.Elem())
		case reflect.Struct:
			known[t.String()] = true
			for i := range t.NumField() {
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	walk(reflect.TypeFor[plugin.Manifest]())
	for _, heading := range regexp.MustCompile(`(?m)^\[(.*)\]$`).FindAllStringSubmatch(adviceText, -1) {
		for _, name := range strings.Fields(heading[1]) {
			if !known[name] {
				t.Errorf("advice.txt: there is no type %s", name)
			}
		}
	}
}
