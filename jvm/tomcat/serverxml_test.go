package tomcat

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// known returns references to props alone.
func known(props map[string]string) References {
	return References{sources: []func(string) (string, bool){func(name string) (string, bool) { v, ok := props[name]; return v, ok }}}
}

const sampleServer = `<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE server-xml [ <!ENTITY more SYSTEM "more.xml"> ]>
<Server port="8005" shutdown="SHUTDOWN" portOffset="100">
  <Service name="Catalina">
    <Connector port="${http.port}" address="127.0.0.1" maxThreads="50"/>
    <Connector port="${tls:-8443}" SSLEnabled="true" scheme="https" protocol="org.apache.coyote.http11.Http11NioProtocol"/>
    <Connector port="${unset}" protocol="AJP/1.3"/>
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
	x, err := ParseServerXML("s.xml", []byte(sampleServer), known(map[string]string{"http.port": "8080", "catalina.base": "/b"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Connectors) != 3 || len(x.Hosts) != 2 || len(x.Contexts) != 2 || len(x.Notes) != 1 {
		t.Fatalf("%+v", x)
	}
	c := x.Connectors
	if c[0].Port.Number != 8180 || c[0].Address != "127.0.0.1" || c[0].MaxThreads.Number != 50 || c[0].Line != 5 || !c[0].HTTP() {
		t.Errorf("first connector %+v", c[0])
	}
	if c[1].Port.Number != 8543 || !c[1].TLS || c[1].MaxThreads.Set {
		t.Errorf("second connector %+v", c[1])
	}
	if c[2].Port.Set || c[2].Port.Text != "${unset}" || c[2].HTTP() {
		t.Errorf("third connector %+v", c[2])
	}
	if x.Hosts[0].AppBase != "apps" || x.Hosts[1].AppBase != "webapps" || x.Contexts[0] != "/" || x.Contexts[1] != "/x" {
		t.Errorf("hosts %+v contexts %+v", x.Hosts, x.Contexts)
	}
}

func TestServerXMLThreads(t *testing.T) {
	const pool = `<Executor name="tomcatThreadPool" namePrefix="catalina-exec-" maxThreads="150" minSpareThreads="4"/>`
	for _, c := range []struct {
		name, service string
		want          int
	}{
		{"no connector", "", 0},
		{"nothing set", `<Connector port="8080"/>`, 200},
		{"its own", `<Connector port="8080" maxThreads="50"/>`, 50},
		{"HTTP and AJP", `<Connector port="8080" maxThreads="200"/><Connector port="8009" protocol="AJP/1.3" maxThreads="200"/>`, 400},
		{"one set, one not", `<Connector port="8080" maxThreads="50"/><Connector port="8009" protocol="AJP/1.3"/>`, 250},
		{"executor", pool + `<Connector port="8080" executor="tomcatThreadPool"/>`, 150},
		{"executor over its own", pool + `<Connector port="8080" executor="tomcatThreadPool" maxThreads="500"/>`, 150},
		{"shared executor", pool + `<Connector port="8080" executor="tomcatThreadPool"/><Connector port="8443" executor="tomcatThreadPool"/>`,
			150},
		{"executor and its own", pool + `<Connector port="8080" executor="tomcatThreadPool"/><Connector port="8443" maxThreads="20"/>`, 170},
		{"unused executor", pool + `<Connector port="8080" maxThreads="20"/>`, 20},
		{"executor without a number", `<Executor name="e"/><Connector port="8080" executor="e" maxThreads="20"/>`, 200},
		{"executor of a property", `<Executor name="${pool}" maxThreads="${threads}"/><Connector port="8080" executor="p"/>`, 70},
		{"connector of a property", `<Connector port="8080" maxThreads="${threads}"/><Connector port="8081" maxThreads="${unset:-30}"/>`, 100},
		{"unknown property", `<Connector port="8080" maxThreads="${unset}"/>`, 200},
		{"unknown executor", pool + `<Connector port="8080" executor="other" maxThreads="20"/>`, 20},
		{"executor comes later", `<Connector port="8080" executor="tomcatThreadPool" maxThreads="20"/>` + pool, 20},
		{"executor of another service", pool + `</Service><Service name="b"><Connector port="8080" executor="tomcatThreadPool" maxThreads="20"/>`,
			20},
		{"one name in two services", pool + `<Connector port="8080" executor="tomcatThreadPool"/></Service><Service name="b">` +
			pool + `<Connector port="8081" executor="tomcatThreadPool"/>`, 300},
		{"executor below no service", `<Engine><Executor name="e" maxThreads="90"/></Engine><Connector port="8080" executor="e" maxThreads="20"/>`, 20},
		{"two of one name", pool + `<Executor name="tomcatThreadPool" maxThreads="90"/><Connector port="8080" executor="tomcatThreadPool"/>`,
			150},
		{"zero", `<Connector port="8080" maxThreads="0"/>`, 200},
		{"negative", `<Connector port="8080" maxThreads="-1"/>`, 200},
		{"executor of zero", `<Executor name="e" maxThreads="0"/><Connector port="8080" executor="e"/>`, 200},
		{"no int of Java", `<Connector port="8080" maxThreads="2147483648"/>`, 200},
		{"off", `<Connector port="-1" maxThreads="50"/>`, 0},
		{"one of two is off", `<Connector port="8080" maxThreads="20"/><Connector port="${unset:--1}" protocol="AJP/1.3"/>`, 20},
		{"any port", `<Connector port="0" maxThreads="50"/>`, 50},
		{"no port, but a socket", `<Connector unixDomainSocketPath="/run/t.sock" maxThreads="50"/>`, 50},
	} {
		x, err := ParseServerXML("s.xml", []byte(`<Server><Service name="a">`+c.service+`</Service></Server>`),
			known(map[string]string{"threads": "70", "pool": "p"}), nil)
		if got := x.Threads(); err != nil || got != c.want {
			t.Errorf("%s: %d threads, %v, want %d", c.name, got, err, c.want)
		}
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
		_, err := ParseServerXML("/b/conf/server.xml", []byte(c.text), References{}, nil)
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
	x, err := ParseServerXML(file, data, References{}, nil)
	if err != nil || len(x.Connectors) != 1 || x.Connectors[0].Port.Number != 8080 || x.Threads() != 200 || len(x.Hosts) != 1 {
		t.Errorf("%+v, %v", x, err)
	}
}

func FuzzParseServerXML(f *testing.F) {
	f.Add([]byte(sampleServer))
	f.Add([]byte(`<Server><Service><Executor name="e" maxThreads="9"/><Connector executor="e"/><Connector maxThreads="${a}"/></Service></Server>`))
	f.Add([]byte("<!DOCTYPE x [<!ENTITY"))
	f.Add([]byte(`<!DOCTYPE Server [<!ENTITY c SYSTEM "f"><!ENTITY a "&b;&b;"><!ENTITY b "&#60;Connector port='&p;'/>"><!ENTITY p "1${a:-${a}}">]>` +
		`<Server portOffset="${a}"><Service>&c;&a;</Service></Server>`))
	f.Add([]byte("\xff\xfe<\x00S\x00/\x00>\x00"))
	f.Add([]byte(`<?xml version="1.0" encoding="GBK"?><Server/>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 16<<10 {
			return
		}
		self := func(string) ([]byte, error) { return data, nil } // every entity is the file itself
		x, err := ParseServerXML("f", data, known(map[string]string{"a": "1", "b": "${a}${b}"}), self)
		if n := x.Threads(); n < 0 {
			t.Fatalf("%d threads", n)
		}
		var e *XMLError
		if err != nil && (!errors.As(err, &e) || e.Line < 1) {
			t.Fatalf("%v without a position: %+v", err, x)
		}
	})
}

// FuzzServerFacts reads arbitrary files that may refer to each other.
func FuzzServerFacts(f *testing.F) {
	f.Add([]byte(sampleServer), []byte("a=1\nb=${a}\n"), "-Dcatalina.config=file:///x")
	f.Add([]byte(`<!DOCTYPE Server [<!ENTITY e SYSTEM "catalina.properties">]><Server port="${a}">&e;<Service><Engine name="${b:-x}">`+
		`<Host name="h" appBase="${c}" deployIgnore="(${a}"/></Engine></Service></Server>`), []byte("<Host name='i' xmlBase='../${a}'/>"),
		"-Da=1")
	f.Add([]byte("<Server>"), []byte("org.apache.tomcat.util.digester.PROPERTY_SOURCE=org.apache.tomcat.util.digester.EnvironmentPropertySource"), "")
	f.Fuzz(func(t *testing.T, server, properties []byte, option string) {
		if len(server)+len(properties) > 16<<10 {
			return
		}
		in := Install{Home: "/nowhere", Base: "/nowhere"}
		x, err := in.ServerXML(Inputs{Argv: []string{"java", option}, Env: map[string]string{"a": "${b}"},
			Read: func(path string) ([]byte, error) {
				if strings.HasSuffix(path, "server.xml") {
					return server, nil
				}
				return properties, nil
			}})
		apps, _ := in.Applications(x)
		if n := x.Threads(); n < 0 || len(apps) > len(server)+len(properties)+maxEntities {
			t.Errorf("%d threads, %d applications", n, len(apps))
		}
		if err != nil && len(err.Error()) > 4<<10 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
