package remote

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/redact"
)

func TestExpand(t *testing.T) {
	lookup := Variables(map[string]string{"APPID": "1001", "EMPTY": "", "ODD": "a b/c?d", "UP": ".."},
		map[string]string{"appid": "not this one", "app.tier": "gold", "empty": "label"})
	for _, tc := range []struct{ text, want, err string }{
		{"http://c/apps/${APPID}/jvm?env=${APP_TIER}", "http://c/apps/1001/jvm?env=gold", ""},
		{"http://c/${EMPTY}", "http://c/label", ""},
		{"http://c/${ODD}", "http://c/a%20b%2Fc%3Fd", ""},
		{"http://c/?q=${ODD}", "http://c/?q=a+b%2Fc%3Fd", ""},
		{"http://c/$HOME", "http://c/$HOME", ""},
		{"http://c/${UP}/x", "", `the variable UP is ".."`},
		{"http://c/${NONE}/${NOT}/${NONE}", "", "gives NONE, NOT a value"},
		{"http://c/${", "", "${NAME}"},
		{"http://c/${a b}", "", "${NAME}"},
	} {
		got, err := expand(tc.text, lookup)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %q, %v", tc.text, got, err)
		}
	}
}

// No value of a variable leads to another host than the one that is written.
func TestVariablesStayInTheirPlace(t *testing.T) {
	for _, value := range []string{"x@evil", "evil/", "evil:80/x", "evil#", "evil?", "a b", "evil\\", "%2f", "[::1]"} {
		lookup := func(string) (string, bool) { return value, true }
		if got, err := parse("http://config-${X}.svc/", lookup); err == nil && got.url.Host != "config-%2f.svc" { // which nobody has
			t.Errorf("%q makes the host %q", value, got.url.Host)
		}
		if got, err := parse("http://config/${X}/y", lookup); err != nil || got.url.Host != "config" || got.url.Path != "/"+value+"/y" || got.url.RawQuery != "" {
			t.Errorf("%q in a path: %+v, %v", value, got.url, err)
		}
		if got, err := parse("http://config/?a=${X}&b=1", lookup); err != nil || got.url.Query().Get("a") != value || got.url.Query().Get("b") != "1" {
			t.Errorf("%q in a query: %+v, %v", value, got.url, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"http://config/apps/${APPID}/jvm?env=${ENV}": "",
		"https://config:8443/x":                      "",
		"http://${HOST}:${PORT}/x":                   "",
		"unix:///run/agent.sock:/v1/jvm":             "",
		"unix:///run/agent.sock":                     "unix:///path/of/socket:/http/path",
		"unix://run/agent.sock:/x":                   "unix:///path/of/socket:/http/path",
		"ftp://x/y":                                  "begins with",
		"config/x":                                   "begins with",
		"http:///x":                                  "no host",
		"http://h:0/":                                "port",
		"http://user:geheim@h:x/":                    "not a URL",
	} {
		err := Check(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the password is told: %v", text, err)
		}
	}
}

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"http://config/x?env=fat":                    "http://config/x?env=fat",
		"http://me:geheim@config/x@y":                "http://***@config/x@y",
		"http://me@config":                           "http://***@config",
		"http://me:geh/eim@config/x":                 "http://***",
		"http://me:geh?eim@config/x":                 "http://***",
		"http://me:gehe:?im@config/x":                "http://***",
		"http://me:#@0/geheim@config":                "http://***",
		"http://me:?geheim@config/x":                 "http://***",
		"http://[::1]:80/x":                          "http://[::1]:80/x",
		"http://[::1]/x":                             "http://[::1]/x",
		"http://${HOST}:${PORT}/x@y":                 "http://${HOST}:${PORT}/x@y",
		"https://c/?a=1&api_key=geheim&b=2#f":        "https://c/?a=1&api_key=***&b=2#f",
		"https://c/?TOKEN=geheim":                    "https://c/?TOKEN=***",
		"https://c/?to%6ben=geheim":                  "https://c/?to%6ben=***",
		"https://c/${X}?password=${Y}":               "https://c/${X}?password=***",
		"unix:///run/a.sock:/jvm?secret=geheim&n=no": "unix:///run/a.sock:/jvm?secret=***&n=no",
	} {
		if got := Mask(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzMask puts a password into every place of a URL where one may stand.
func FuzzMask(f *testing.F) {
	for _, s := range [][2]string{{"", ""}, {":", ""}, {"/", "?"}, {"@", "#"}, {"a:?", ""}, {"%", "&"}, {"=", ";"}, {"${", "}"}, {"1", "2"}, {" ", "\x00"}} {
		f.Add(s[0], s[1], "config/x", "token")
	}
	f.Fuzz(func(t *testing.T, before, after, rest, name string) {
		const marker = "hunter22"
		if strings.Contains(before+after+rest+name, marker) {
			return
		}
		password := before + marker + after
		var texts []string
		for _, text := range []string{"https://me:" + password + "@" + rest, "http://" + password + "@" + rest} {
			_, authority, _ := strings.Cut(text, "://")
			authority = authority[:strings.IndexAny(authority+"/", "/?#")]
			host := authority[strings.LastIndexByte(authority, '@')+1:]
			if strings.Contains(authority[:len(authority)-len(host)], marker) || !redact.Host(host) || host == "" { // else it is a host with a path
				texts = append(texts, text)
			}
		}
		if name = url.QueryEscape(name); secret(name) {
			texts = append(texts, "https://config/x?"+name+"="+url.QueryEscape(password)+"&b=2", "unix:///run/a.sock:/jvm?a=1&"+name+"="+url.QueryEscape(password))
		}
		for _, text := range texts {
			masked := Mask(text)
			if strings.Contains(masked, marker) {
				t.Errorf("%q is shown as %q", text, masked)
			}
			if again := Mask(masked); strings.Contains(again, marker) {
				t.Errorf("%q is shown as %q, and then as %q", text, masked, again)
			}
		}
	})
}
