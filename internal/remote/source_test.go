package remote

import (
	"strings"
	"testing"
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
		if got, err := parse("http://config-${X}.svc/", lookup); err == nil && got.url.Host != "config-%2f.svc" { // no such host exists
			t.Errorf("%q makes the host %q", value, got.url.Host)
		}
		if got, err := parse("http://config/${X}/y", lookup); err != nil || got.url.Host != "config" || got.url.Path != "/"+value+"/y" ||
			got.url.RawQuery != "" {
			t.Errorf("%q in a path: %+v, %v", value, got.url, err)
		}
		if got, err := parse("http://config/?a=${X}&b=1", lookup); err != nil || got.url.Query().Get("a") != value ||
			got.url.Query().Get("b") != "1" {
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
			t.Errorf("%s: the password is shown: %v", text, err)
		}
	}
}
