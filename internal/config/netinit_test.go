package config

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestNetinitSource(t *testing.T) {
	for source, want := range map[string]string{
		"/etc/stoker/network.yaml": "", "/run/${APPID}.json": "", "unix:/run/agent.sock": "", "unix:/run/${POD:-a}.sock": "",
		"http://169.254.169.254/openstack/latest/network_data.json": "", "https://agent:8443/net/${APPID}?v=1": "",
		"unix:///run/agent.sock:/net": "", "http://": "names no host", "https://user:geheim@host:x/": "is no source",
		"${SOURCE}":             "neither an absolute path nor a URL",
		"network.yaml":          `netinit.source: "network.yaml" is no source: it is neither an absolute path nor a URL (write "/path/of/file"`,
		"unix:agent.sock":       "a URL of a unix socket is unix:///path/of/socket:/http/path",
		"unix://run/agent.sock": "a URL of a unix socket is unix:///path/of/socket:/http/path",
		"ftp://agent/net":       "a URL begins with http://, https:// or unix://",
	} {
		_, err := loadText(t, "services: {web: {command: [x]}}\nnetinit: {source: '"+source+"'}\n")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", source, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim")):
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

// The defaults of the section belong to a source, and its secrets are masked.
func TestNetinitShow(t *testing.T) {
	loaded, err := loadText(t, `services: {web: {command: [x]}}
netinit:
  source: https://me:geheim@agent/net?token=geheim
  headers: {Authorization: geheim, Accept: text/json}
  drift: {every: 10s}
`)
	if err != nil {
		t.Fatal(err)
	}
	cfg := loaded.Config.Netinit
	if cfg.Wait != time.Minute || !*cfg.Required || cfg.ResolvConf != "/etc/resolv.conf" || cfg.Drift.Then != "repair" {
		t.Errorf("%+v", cfg)
	}
	var shown bytes.Buffer
	if err := loaded.Show(&shown, false); err != nil {
		t.Fatal(err)
	}
	if text := shown.String(); strings.Contains(text, "geheim") || !strings.Contains(text, "text/json") {
		t.Errorf("shown as\n%s", text)
	}
	if without := WithDefaults(Config{}).Netinit; without.Wait != 0 {
		t.Errorf("without a source: %+v", without)
	}
}

func TestNetinitRefused(t *testing.T) {
	_, err := loadText(t, `services: {web: {command: [x]}}
netinit:
  source: /net.yaml
  format: opnstack
  wait: 0s
  headers: {"a b": c}
  ca_file: ca.pem
  state_dir: state
  resolv_conf: resolv.conf
  dad: off
  drift: {every: 10ms, then: fix}
`)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`netinit.format: "opnstack" is not one of auto, openstack, neutron, netplan, cni, own (did you mean "openstack"?)`,
		"netinit.wait: 0s is not above 0", `netinit.headers."a b": "a b" is not the name of a header`, `netinit.ca_file: "ca.pem" is not an absolute path`,
		`netinit.state_dir: "state" is not`, `netinit.resolv_conf: "resolv.conf" is not`, `netinit.dad: "off" is not one of`,
		"netinit.drift.every: 10ms is less than 1s", `netinit.drift.then: "fix" is not one of`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not have %q", err, want)
		}
	}
}
