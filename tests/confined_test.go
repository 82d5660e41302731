//go:build container

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// askers are services of root that request what needs the grant admin, each in another way, and
// a hook and a service that have it.
const askers = `
api: {admins: [cron]}
hooks:
  init: [{name: may, command: [sh, -c, 'stoker stop victim; echo "hook $?" >>/tmp/asked']}]
services:
  victim: {command: [sleep, "1000"]}
  plain: {command: [sh, -c, 'stoker stop victim; echo "plain $?" >>/tmp/asked; exec sleep 1000']}
  few: {command: [sh, -c, 'stoker stop victim; echo "few $?" >>/tmp/asked; exec sleep 1000'], drop_capabilities: [ALL], no_new_privileges: true}
  left: {command: [sh, -c, '(env -i setsid sh -c "sleep 0.5; /usr/bin/stoker stop victim; echo left \$? >>/tmp/asked" &) ; exec sleep 1000']}
  feigned: {command: [sh, -c, 'STOKER_PROCESS=hook/x@1.0 setsid sh -c "stoker stop victim; echo feigned \$? >>/tmp/asked"; exec sleep 1000']}
  swap: {command: [sh, -c, 'cp /bin/true /tmp/stoker; stoker upgrade /tmp/stoker; echo "swap $?" >>/tmp/asked; exec sleep 1000']}
  looks: {command: [sh, -c, 'stoker status; echo "looks $?" >>/tmp/asked; exec sleep 1000']}
  cron: {command: [sh, -c, 'stoker stop victim; echo "cron $?" >>/tmp/asked; exec sleep 1000']}
`

// A service of root has only the grant view, also if it hides its membership. Processes outside
// of the services have every grant, also if stoker has no capabilities.
func TestServicesOfRootAreNoAdmins(t *testing.T) {
	needsImage(t, "stoker-base")
	const refused = 3 // docs/reference/exit-codes.md
	for name, flags := range map[string][]string{
		"default":         nil,
		"another user":    {"--user=12345"},
		"no capabilities": {"--cap-drop=ALL", "--security-opt=no-new-privileges"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, append(flags, "--volume="+stoker(t)+":/usr/bin/stoker:ro", withConfig(t, askers),
				"--entrypoint=/usr/bin/stoker", "stoker-base", "run")...)
			var asked string
			await(t, 60*time.Second, "every answer", func() bool {
				asked, _ = c.exec("cat", "/tmp/asked")
				return strings.Count(asked, "\n") == 8
			})
			want := map[string]int{"plain": refused, "few": refused, "left": refused, "feigned": refused, "swap": refused,
				"looks": 0, "cron": 0, "hook": 0}
			for who, code := range want {
				if line := fmt.Sprintf("%s %d\n", who, code); !strings.Contains(asked, line) {
					t.Errorf("want %q among\n%s", line, asked)
				}
			}
			for _, command := range [][]string{{"stoker", "restart", "victim"}, {"sh", "-c", "sh -c 'stoker restart victim; exit $?'; exit $?"}} {
				if out, err := c.exec(command...); err != nil {
					t.Errorf("docker exec %q: %v: %s", command, err, out)
				}
			}
			if out, err := c.execAs("0", "stoker", "restart", "victim"); err != nil {
				t.Errorf("docker exec as root: %v: %s", err, out)
			}
			nsenter := exec.Command("nsenter", "--target", c.inspect("{{.State.Pid}}"), "--mount", "--pid", "--", "/usr/bin/stoker", "restart",
				"victim")
			nsenter.Env = []string{"PATH=" + os.Getenv("PATH")}
			if out, err := nsenter.CombinedOutput(); err != nil {
				t.Errorf("nsenter: %v: %s", err, out)
			}
		})
	}
}

// The command of run is not a service: it and the processes that it leaves behind have the grants
// of their uid.
func TestCommandOfRunIsAdmin(t *testing.T) {
	needsImage(t, "stoker-base")
	out, err := exec.Command("docker", "run", "--rm", "--no-healthcheck", "--volume="+stoker(t)+":/usr/bin/stoker:ro",
		"--entrypoint=/usr/bin/stoker", "stoker-base",
		"run", "--", "sh", "-c", "until stoker health; do sleep 0.1; done; stoker signal sh CONT && sh -c 'stoker reload'").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Services that need more descriptors than the limit leave some for the API, so that an operator
// gets an answer.
func TestStatusWithFewDescriptors(t *testing.T) {
	needsImage(t, "stoker-base")
	config := "services:\n"
	for k := range 100 {
		config += fmt.Sprintf("  s%d: {command: [sleep, '1000']}\n", k)
	}
	for _, limit := range []string{"32", "64", "128", "256"} {
		t.Run(limit, func(t *testing.T) {
			c := newContainer(t, "--ulimit=nofile="+limit+":"+limit, "--volume="+stoker(t)+":/usr/bin/stoker:ro", withConfig(t, config),
				"--entrypoint=/usr/bin/stoker", "stoker-base", "run")
			await(t, 20*time.Second, "every service's first start", func() bool {
				st, ok := c.status()
				tried := 0
				for _, s := range st.Services {
					if s.State == "RUNNING" || strings.Contains(s.Reason, "too many open files") {
						tried++
					}
				}
				return ok && tried == 100
			})
			for range 5 {
				if out, err := c.exec("timeout", "60", "stoker", "status"); err != nil || !strings.Contains(out, "RUNNING") {
					t.Fatalf("%v: %s", err, lastOf(out, 500))
				}
			}
		})
	}
}
