package tomcat

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sampleServer = `<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE server-xml [ <!ENTITY more SYSTEM "more.xml"> ]>
<Server port="8005" shutdown="SHUTDOWN" portOffset="100">
  <Service name="Catalina">
    <Connector port="${http.port}" address="127.0.0.1" maxThreads="50"/>
    <Connector port="${tls:-8443}" SSLEnabled="true" scheme="https" protocol="org.apache.coyote.http11.Http11NioProtocol"/>
    <Connector port="${nobody}" protocol="AJP/1.3"/>
    &more;
    <Engine name="Catalina">
      <Host name="a.example" appBase="apps">
        <Context path="" docBase="root"/>
        <Context path="/x" docBase="${catalina.base}/x"/>
      </Host>
      <Host name="b.example"/>
    </Engine>
  </Service>
</Server>`

func TestParseServerXML(t *testing.T) {
	x, err := ParseServerXML("s.xml", []byte(sampleServer), map[string]string{"http.port": "8080", "catalina.base": "/b"})
	if err != nil {
		t.Fatal(err)
	}
	if x.Shutdown.Number != 8105 || len(x.Connectors) != 3 || len(x.Hosts) != 2 || len(x.Contexts) != 2 || len(x.Notes) != 1 {
		t.Fatalf("%+v", x)
	}
	c := x.Connectors
	if c[0].Port.Number != 8180 || c[0].Address != "127.0.0.1" || c[0].MaxThreads.Number != 50 || c[0].Line != 5 || !c[0].HTTP() {
		t.Errorf("first connector %+v", c[0])
	}
	if c[1].Port.Number != 8543 || !c[1].TLS || c[1].Scheme != "https" || c[1].MaxThreads.Set {
		t.Errorf("second connector %+v", c[1])
	}
	if c[2].Port.Set || c[2].Port.Text != "${nobody}" || c[2].HTTP() {
		t.Errorf("third connector %+v", c[2])
	}
	if x.Hosts[0].AppBase != "apps" || x.Hosts[1].AppBase != "webapps" || x.Contexts[0].Path != "/" || x.Contexts[1].DocBase != "/b/x" || x.Contexts[1].Host != "a.example" {
		t.Errorf("hosts %+v contexts %+v", x.Hosts, x.Contexts)
	}
}

func TestServerXMLErrors(t *testing.T) {
	for _, c := range []struct {
		name, text string
		line       int
	}{
		{"unclosed", "<Server>\n<Engine>\n</Server>", 3},
		{"attribute", "<Server>\n<Connector port=8080/>\n</Server>", 2},
		{"entity", "<Server>\n&nope;</Server>", 2},
		{"empty", "", 1},
		{"no server", "\n<other/>", 2},
		{"ends early", "<Server>\n<Service>", 2},
		{"charset", `<?xml version="1.0" encoding="EBCDIC"?><Server/>`, 1},
	} {
		_, err := ParseServerXML("/b/conf/server.xml", []byte(c.text), nil)
		var x *XMLError
		if !errors.As(err, &x) || x.Line != c.line || x.Column < 1 || !strings.Contains(err.Error(), "/b/conf/server.xml:") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestRealServerXML(t *testing.T) {
	file := filepath.Join(realHome(t), "skel/conf/server.xml")
	data, err := os.ReadFile(file)
	if err != nil {
		skip(t, "no server.xml of tomcat10-user: "+err.Error())
	}
	x, err := ParseServerXML(file, data, nil)
	if err != nil || len(x.Connectors) != 1 || x.Connectors[0].Port.Number != 8080 || len(x.Hosts) != 1 {
		t.Errorf("%+v, %v", x, err)
	}
}

func FuzzParseServerXML(f *testing.F) {
	f.Add([]byte(sampleServer))
	f.Add([]byte("<!DOCTYPE x [<!ENTITY"))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := ParseServerXML("f", data, map[string]string{"a": "1"})
		var e *XMLError
		if err != nil && (!errors.As(err, &e) || e.Line < 1) {
			t.Fatalf("%v without a position: %+v", err, x)
		}
	})
}
