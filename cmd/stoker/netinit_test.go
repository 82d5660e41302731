package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/kernel"
	"github.com/urfave/cli/v2"
)

// Flags override the section netinit, and another source has nothing of that of the section.
func TestNetworkSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stoker.yaml")
	if err := os.WriteFile(file, []byte(`labels: {id: "7"}
netinit:
  source: http://169.254.169.254/${ID}
  format: openstack
  wait: 30s
  require_fresh: true
  headers: {X-Token: secret}
  ca_file: /etc/ca.pem
  state_dir: /data
  resolv_conf: /data/resolv.conf
  dad: nodad
`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", "/state")
	settings := func(flags ...string) (cfg netinit.Config) {
		t.Helper()
		p := testProgram()
		everyCommand(p.App, func(name string, c *cli.Command) {
			if name == "netinit apply" {
				c.Action = func(c *cli.Context) (err error) {
					got, lookup, err := networkSettings(c)
					if value, _ := lookup("ID"); err == nil && value != "7" && len(flags) > 0 && flags[0] == "-c" {
						err = fmt.Errorf("the label is %q", value)
					}
					cfg = got
					return err
				}
			}
		})
		if err := p.Run(t.Context(), append([]string{"stoker", "netinit", "apply"}, flags...)); err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	section := settings("-c", file)
	if section.Source != "http://169.254.169.254/${ID}" || section.Format != netinit.OpenStack || section.Wait != 30*time.Second ||
		!section.RequireFresh || section.Headers["X-Token"] != "secret" || section.StateDir != "/data" || section.DAD != netinit.DADNone ||
		section.ResolvConf != "/data/resolv.conf" || section.HostsFile != "/etc/hosts" || section.Hostname {
		t.Errorf("the section: %+v", section)
	}
	other := settings("-c", file, "--from", "net.yaml", "--require-fresh=false", "--hosts-file", "/h", "--hostname", "--dad", "wait", "--wait", "5s")
	if other.Source != "net.yaml" || other.Format != netinit.Auto || other.Wait != 5*time.Second || other.RequireFresh || other.Headers != nil ||
		other.CAFile != "" || other.StateDir != "/data" || other.DAD != netinit.DADWait || other.HostsFile != "/h" || !other.Hostname {
		t.Errorf("another source: %+v", other)
	}
	defaults := settings("--from", "net.yaml", "--probe")
	if defaults.Wait != time.Minute || defaults.StateDir != "/state/stoker/netinit" || defaults.ResolvConf != "/etc/resolv.conf" ||
		defaults.DAD != netinit.DADWait || !defaults.Probe {
		t.Errorf("without a configuration: %+v", defaults)
	}
}

func TestChangesText(t *testing.T) {
	if got := changesText(nil, 0); got != "no differences\n" {
		t.Errorf("%q", got)
	}
	got := changesText([]kernel.Change{{Verb: "add", Object: "address", Link: "eth0", Detail: "192.0.2.10/24"},
		{Verb: "set", Object: "file", Detail: "/etc/resolv.conf"}}, 0)
	want := `CHANGE  OBJECT   LINK  DETAIL
add     address  eth0  192.0.2.10/24
set     file     -     /etc/resolv.conf
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
