package tomcat

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

var update = flag.Bool("update", false, "write the golden files")

// rendered reads and renders a server.xml in /b/conf of a Tomcat 10.1.
func rendered(data []byte, how Rendering) ([]byte, error) {
	in := Install{Home: "/h", Base: "/b", Version: Version{10, 1, 55}}
	x, err := in.ServerXML(Inputs{Argv: []string{"java", "-Dtls.port=8443"}, Read: func(path string) ([]byte, error) {
		switch path {
		case "/b/conf/server.xml":
			return data, nil
		case "/b/conf/more.xml":
			return []byte("<Connector/>"), nil
		}
		return nil, fs.ErrNotExist
	}})
	if err != nil {
		return nil, err
	}
	return in.RenderServerXML(data, x, how)
}

func TestRenderServerXML(t *testing.T) {
	for name, how := range map[string]Rendering{
		"usual-8080":    {Port: 8080, GracefulStop: 1500 * time.Millisecond},
		"usual-8443":    {Port: 8443, GracefulStop: time.Second},
		"usual-9090":    {Port: 9090, GracefulStop: time.Second},
		"usual-unix":    {Socket: "/run/t.sock", SocketPath: "/run/stoker/tomcat/a&b/socket", JavaMajor: 17},
		"usual-private": {Port: 8080, Private: true},
		"usual-found":   {Private: true},
		"usual-moved":   {Socket: "/run/t.sock", Private: true},
	} {
		base, _, _ := strings.Cut(name, "-")
		data, err := os.ReadFile(filepath.Join("testdata/render", base+".xml"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := rendered(data, how)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		compareGolden(t, filepath.Join("testdata/render", name+".golden.xml"), got)
	}
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v, differs:\n%s", path, err, got)
	}
}

// The external entities of the file stay where they are.
func TestRenderedEntities(t *testing.T) {
	data, err := os.ReadFile("testdata/render/entities.xml")
	if err != nil {
		t.Fatal(err)
	}
	in := Install{Base: "/b c", Version: Version{9, 0, 43}}
	x, err := in.ServerXML(Inputs{Read: func(path string) ([]byte, error) {
		return map[string][]byte{"/b c/conf/server.xml": data, "/b c/conf/more.xml": []byte(`<Connector port="8081"/>`)}[path], nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := in.RenderServerXML(data, x, Rendering{Port: 8080, GracefulStop: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "testdata/render/entities.golden.xml", got)
	_, err = in.RenderServerXML(data, x, Rendering{Port: 8081})
	if want := "cannot pass a socket to the connector of /b c/conf/server.xml:1: it comes from the entity &more;"; err == nil ||
		!strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err = in.RenderServerXML(data, x, Rendering{Port: 8080, Private: true}); err == nil {
		t.Error("a private copy in which the connector of an entity binds its port")
	}
}

// All other bytes stay in every encoding.
func TestRenderedEncodings(t *testing.T) {
	const text = "<?xml version=\"1.0\" encoding=\"NAME\"?>\r\n<Server><!-- é \u00a0 -->\r\n<Service name=\"ü\">" +
		"<Connector port=\"8080\"/></Service></Server>\r\n"
	want := strings.Replace(text, "<Connector ", "<Connector useInheritedChannel=\"true\" ", 1)
	for name, e := range map[string]encoding.Encoding{"UTF-8": encoding.Nop, "ISO-8859-1": charmap.ISO8859_1, "ISO-8859-15": charmap.ISO8859_15,
		"utf-8": unicode.UTF8BOM, "UTF-16": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
		"UTF-16BE": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)} {
		encode := func(text string) []byte {
			data, err := e.NewEncoder().Bytes([]byte(strings.Replace(text, "NAME", name, 1)))
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		if got, err := rendered(encode(text), Rendering{Port: 8080}); err != nil || !bytes.Equal(got, encode(want)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestSocketRefused(t *testing.T) {
	apr := `<Listener className="org.apache.catalina.core.AprLifecycleListener" useAprConnector="true"/>`
	for _, c := range []struct {
		name, service string
		how           Rendering
		want          string
	}{
		{"none", "", Rendering{Port: 8080}, "cannot pass a socket to the Tomcat of /b/conf/server.xml: listen has port 8080, and the connectors are none\n" +
			"hint: make the address of listen that of a connector"},
		{"another port", "\n<Connector port='${unset}'/><Connector port='1'/>", Rendering{Port: 8080},
			"the connectors are ${unset} (line 2), 1 (line 2)\n"},
		{"a port for a socket", "<Connector port='8080'/>", Rendering{Socket: "/s"}, "listen has /s, and the connectors are 8080 (line 1)\n"},
		{"a socket with the port", "<Connector port='8080' unixDomainSocketPath='/s'/>", Rendering{Port: 8080}, "the connectors are /s (line 1)\n"},
		{"two", "<Connector port='8080' address='127.0.0.1'/>\n<Connector port='8080' address='::1'/>", Rendering{Port: 8080},
			"listen has port 8080, and so have 8080 (line 1), 8080 (line 2)"},
		{"APR", "\n<Connector port='8080' protocol='org.apache.coyote.http11.Http11AprProtocol'/>", Rendering{Port: 8080},
			"to the connector of /b/conf/server.xml:2: the APR connector binds its port itself (protocol org.apache.coyote.http11.Http11AprProtocol)\nhint: "},
		{"NIO2", "<Connector port='8080' protocol='org.apache.coyote.http11.Http11Nio2Protocol'/>", Rendering{Port: 8080}, "1: the NIO2 connector binds"},
		{"another class", "<Connector port='8080' protocol='com.example.P'/>", Rendering{Port: 8080}, "1: it is not known whether its protocol com.example.P "},
		{"APR by the listener", "</Service>" + apr + "<Service><Connector port='8080'/>", Rendering{Port: 8080},
			"1: useAprConnector in line 1 may make it an APR connector"},
		{"another one inherits", "<Connector port='8080'/>\n<Connector port='8081' useInheritedChannel='true'/>", Rendering{Port: 8080},
			"1: the one of line 2 has useInheritedChannel"},
		{"an old JVM", "<Connector unixDomainSocketPath='/s'/>", Rendering{Socket: "/s", JavaMajor: 11}, "1: Java 11 has no unix sockets\nhint: "},
		{"nothing to train", "<Connector port='8080' protocol='com.example.P'/>", Rendering{Private: true}, "it needs a connector of NIO"},
	} {
		got, err := rendered([]byte("<Server><Service>"+c.service+"</Service></Server>"), c.how)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s\n%v, want %s", c.name, got, err, c.want)
		}
	}
	for name, service := range map[string]string{
		"NIO beside the APR listener": apr + "<Service><Connector port='8080' protocol='org.apache.coyote.http11.Http11NioProtocol'/></Service>",
		"it inherits already":         "<Service><Connector port='8080' useInheritedChannel='TRUE'/></Service>",
		"AJP":                         "<Service><Connector port='8080' protocol='AJP/1.3'/></Service>",
	} {
		if _, err := rendered([]byte("<Server>"+service+"</Server>"), Rendering{Port: 8080}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A rendered copy has one connector that inherits, and is otherwise read as the file is. Rendering it again changes nothing.
func FuzzRenderServerXML(f *testing.F) {
	for _, name := range []string{"usual", "entities"} {
		data, err := os.ReadFile(filepath.Join("testdata/render", name+".xml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, 8080, "", false)
		f.Add(data, 0, "/run/t.sock", true)
	}
	f.Add([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?><Server a="é"><Service><Connector/><Connector port='8080'></Connector></Service></Server>`), 8080, "", true)
	f.Add([]byte("\xff\xfe<\x00S\x00/\x00>\x00"), 0, "", true)
	f.Fuzz(func(t *testing.T, data []byte, port int, socket string, private bool) {
		if len(data) > 16<<10 {
			return
		}
		how := Rendering{Port: port, Socket: socket, Private: private, GracefulStop: time.Second}
		out, err := rendered(data, how)
		if err != nil {
			return
		}
		parse := func(data []byte) ServerXML {
			x, err := ParseServerXML("/b/conf/server.xml", data, known(map[string]string{"tls.port": "8443"}),
				func(string) ([]byte, error) { return []byte("<Connector/>"), nil })
			if err != nil {
				t.Fatalf("%v in\n%q", err, data)
			}
			return x
		}
		was, is := parse(data), parse(out)
		at := slices.IndexFunc(is.Connectors, func(c Connector) bool { return c.inherits })
		if len(is.Connectors) != len(was.Connectors) || len(is.Hosts) != len(was.Hosts) || at < 0 ||
			slices.ContainsFunc(is.Connectors[at+1:], func(c Connector) bool { return c.inherits }) {
			t.Fatalf("%+v became %+v", was, is)
		}
		if private || socket != "" {
			return
		}
		if is.Connectors[at].Port.Number != port {
			t.Fatalf("the wrong one inherits: %+v", is)
		}
		if again, err := rendered(out, how); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("again: %v\n%q\n%q", err, out, again)
		}
	})
}
