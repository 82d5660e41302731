package tomcat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// memory returns a reader of the files in a map.
func memory(files map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		text, ok := files[path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
}

const (
	fromEnvironment = "org.apache.tomcat.util.digester.EnvironmentPropertySource"
	fromBindings    = "org.apache.tomcat.util.digester.ServiceBindingPropertySource"
)

// A port has the value that Tomcat resolves, or is unknown.
func TestPortIsResolvedAsTomcatDoes(t *testing.T) {
	source := "-D" + propertySources + "="
	for _, c := range []struct {
		name, port string
		argv       []string
		props      string // catalina.properties
		want       int    // 0: it is not known
	}{
		{"number", "8081", nil, "", 8081},
		{"no number", "80a80", nil, "", 0},
		{"blank", " 8081", nil, "", 0},
		{"more than an int", "8081000000000", nil, "", 0},
		{"empty", "", nil, "", 0},
		{"system property", "${http.port}", []string{"-Dhttp.port=1", "-Dhttp.port=8081"}, "", 8081},
		{"of the program's arguments", "${http.port}", []string{mainClass, "-Dhttp.port=8081"}, "", 0},
		{"catalina.properties", "${http.port}", nil, "http.port=8081\n", 8081},
		{"catalina.properties replaces the command line", "${http.port}", []string{"-Dhttp.port=1"}, "http.port=8081\n", 8081},
		{"default", "${http.port:-8081}", nil, "", 8081},
		{"default not needed", "${http.port:-1}", []string{"-Dhttp.port=8081"}, "", 8081},
		{"default of a default", "${a:-${b:-8081}}", nil, "", 8081},
		{"reference in a default", "${a:-${b}}", []string{"-Db=8081"}, "", 8081},
		{"reference in a value", "${a}", []string{"-Da=${b}", "-Db=8081"}, "", 8081},
		{"two references", "${a}${b}", []string{"-Da=80", "-Db=81"}, "", 8081},
		{"a name with :- in it", "${a:-b}", []string{"-Da:-b=8081"}, "", 8081},
		{"refers to itself", "${a}", []string{"-Da=${a}"}, "", 0},
		{"grows", "${a}", []string{"-Da=${a}${a}"}, "", 0},
		{"not closed", "${a", []string{"-Da=8081"}, "", 0},
		{"environment, without its source", "${PORT}", nil, "", 0},
		{"environment", "${PORT}", []string{source + fromEnvironment}, "", 27102},
		{"environment, by catalina.properties", "${PORT}", nil, propertySources + "=" + fromEnvironment, 27102},
		{"environment before system properties", "${PORT}", []string{source + fromEnvironment, "-DPORT=1"}, "", 27102},
		{"several sources", "${PORT}", []string{source + fromBindings + ", " + fromEnvironment}, "", 27102},
		{"system property beside a source", "${http.port}", []string{source + fromEnvironment, "-Dhttp.port=8081"}, "", 8081},
		{"binding", "${web.port}", []string{source + fromEnvironment + "," + fromBindings}, "", 8082},
		{"binding with a line break", "${web.line}", []string{source + fromBindings}, "", 0},
		{"binding less its line break", "${chomp:web.line}", []string{source + fromBindings}, "", 8083},
		{"binding less CRLF", "${chomp:web.crlf}", []string{source + fromBindings}, "", 8084},
		{"binding that is not there", "${web.none:-8081}", []string{source + fromBindings}, "", 8081},
		{"binding of three parts", "${web.a.b:-8081}", []string{source + fromBindings}, "", 8081},
		{"a custom source may know all names", "${http.port:-1}", []string{source + "com.example.Vault", "-Dhttp.port=8081"}, "", 0},
		{"a custom source does not change numbers", "8081", []string{source + "com.example.Vault"}, "", 8081},
		{"another catalina.properties", "${other}", []string{"-Dcatalina.config=other.properties"}, "", 8085},
		{"another catalina.properties by URL", "${other}", []string{"-Dcatalina.config=file:/b/conf/other.properties"}, "", 8085},
		{"another catalina.properties elsewhere", "${http.port}", []string{"-Dcatalina.config=http://x/y", "-Dhttp.port=8081"}, "", 0},
	} {
		s := Inputs{Argv: append([]string{"java"}, c.argv...), Env: map[string]string{"PORT": "27102", "SERVICE_BINDING_ROOT": "/bindings"},
			Read: memory(map[string]string{"/b/conf/catalina.properties": c.props, "/b/conf/other.properties": "other=8085",
				"/bindings/web/port": "8082", "/bindings/web/line": "8083\n", "/bindings/web/crlf": "8084\r\n",
				"/b/conf/server.xml": `<Server><Service name="C"><Connector port="` + c.port + `"/></Service></Server>`})}
		x, err := Install{Home: "/h", Base: "/b"}.ServerXML(s)
		if err != nil || len(x.Connectors) != 1 {
			t.Errorf("%s: %v, %+v", c.name, err, x)
			continue
		}
		if got := x.Connectors[0].Port; got.Number != c.want || got.Set != (c.want != 0) {
			t.Errorf("%s: %+v, want %d", c.name, got, c.want)
		}
	}
}

func TestReferencesThatAreTooLongStay(t *testing.T) {
	const text = "x${empty}${long}${empty}"
	if got := known(map[string]string{"empty": "", "long": strings.Repeat("9", maxResolved+1)}).resolve(text); got != text {
		t.Errorf("%.80q, want it as it stands", got)
	}
}

func TestUnreadablePropertiesAreUnknown(t *testing.T) {
	files := memory(map[string]string{"/b/conf/server.xml": `<Server><Service><Connector port="${p:-1}"/></Service></Server>`})
	for err, want := range map[error]bool{fs.ErrNotExist: true, fs.ErrPermission: false} {
		read := func(path string) ([]byte, error) {
			if strings.HasSuffix(path, ".properties") {
				return nil, err
			}
			return files(path)
		}
		x, got := Install{Home: "/h", Base: "/b"}.ServerXML(Inputs{Read: read})
		if got != nil || x.Connectors[0].Port.Set != want {
			t.Errorf("%v: %+v, %v", err, x.Connectors, got)
		}
	}
}

func TestPortOffset(t *testing.T) {
	for offset, want := range map[string]Port{"100": {8180, true, "8080"}, "": {8080, true, "8080"}, "${x}": {8080, false, "8080"},
		"a": {8080, false, "8080"}} {
		text := fmt.Sprintf(`<Server portOffset=%q><Service><Connector port="8080"/></Service></Server>`, offset)
		x, err := ParseServerXML("s.xml", []byte(text), References{}, nil)
		if err != nil || x.Connectors[0].Port != want {
			t.Errorf("%q: %+v, %v", offset, x.Connectors, err)
		}
	}
}

// Connectors may be in entities.
func TestEntities(t *testing.T) {
	files := memory(map[string]string{
		"/b/conf/connectors.xml": `<Connector port="8081"/>`, "/b/conf/sub/deep.xml": `<!-- here --><Connector port="8082"/>&more;`,
		"/b/conf/gbk.xml":  "<?xml encoding=\"GBK\"?><!-- \xd6\xd0 --><Connector port=\"8084\"/>",
		"/b/conf/open.xml": "\n<Connector>", "/etc/other.xml": `<Connector port="8085"/>`,
	})
	for _, c := range []struct {
		name, dtd, body string
		want            string // ports
		err             string
		notes           int
	}{
		{"external", `<!ENTITY c SYSTEM "connectors.xml">`, "&c;", "8081", "", 0},
		{"external by URL", `<!ENTITY c SYSTEM 'file:///etc/other.xml'>`, "&c;", "8085", "", 0},
		{"external by path", `<!ENTITY c PUBLIC "id" "/etc/other.xml">`, "&c;", "8085", "", 0},
		{"external that refers to internal", `<!ENTITY c SYSTEM "sub/deep.xml"><!ENTITY more "<Connector port='8083'/>">`, "&c;", "8082 8083", "",
			0},
		{"external with an encoding of its own", `<!ENTITY c SYSTEM "gbk.xml">`, "&c;", "8084", "", 0},
		{"internal", `<!ENTITY c "<Connector port='8081'/>">`, "&c;&c;", "8081 8081", "", 0},
		{"internal, with references to characters", `<!ENTITY c "&#60;Connector port=&#x22;8081&#x22;/>">`, "&c;", "8081", "", 0},
		{"in an attribute", `<!ENTITY p "80&q;"><!ENTITY q "81">`, `<Connector port="&p;"/>`, "8081", "", 0},
		{"the first declaration counts", `<!ENTITY p "8081"><!ENTITY p "8082">`, `<Connector port="&p;"/>`, "8081", "", 0},
		{"between others", `<!ENTITY c SYSTEM "connectors.xml">`, `<Connector port="1"/>&c;<Connector port="2"/>`, "1 8081 2", "", 0},
		{"in a comment", `<!ENTITY c SYSTEM "connectors.xml">`, "<!-- &c; -->", "", "", 0},
		{"not used", `<!ENTITY c SYSTEM "nowhere.xml">`, `<Connector port="1"/>`, "1", "", 0},
		{"elsewhere", `<!ENTITY c SYSTEM "http://x.example/c.xml">`, `<Connector port="1"/>&c;`, "1", "", 1},
		{"missing", `<!ENTITY c SYSTEM "nowhere.xml">`, "&c;", "", "cannot read the entity &c; from /b/conf/nowhere.xml", 0},
		{"broken", `<!ENTITY c SYSTEM "open.xml">`, "&c;", "", "/b/conf/open.xml:2:", 0},
		{"not declared", ``, "&c;", "", "/b/conf/server.xml:4:", 0},
		{"in itself", `<!ENTITY a "&b;"><!ENTITY b "&a;">`, "&a;", "", "refers to itself", 0},
		{"in itself, in an attribute", `<!ENTITY a "&b;"><!ENTITY b "&a;">`, `<Connector port="&a;"/>`, "", "refers to itself", 0},
		{"external in an attribute", `<!ENTITY c SYSTEM "connectors.xml">`, `<Connector port="&c;"/>`, "", "cannot stand in an attribute", 0},
		{"too many", laughs(), "&l9;", "", "too much", 0},
		{"too many, in an attribute", laughs(), `<Connector port="&l9;"/>`, "", "too much", 0},
	} {
		text := "<?xml version='1.0'?>\n<!DOCTYPE Server [" + c.dtd + "]>\n<Server><Service>\n" + c.body + "\n</Service></Server>"
		x, err := ParseServerXML("/b/conf/server.xml", []byte(text), References{}, files)
		var ports []string
		for _, c := range x.Connectors {
			ports = append(ports, c.Port.Text)
		}
		if got := strings.Join(ports, " "); c.err == "" && (err != nil || got != c.want) || c.err != "" &&
			(err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %q, %v, want %q, %q", c.name, got, err, c.want, c.err)
		}
		if len(x.Notes) != c.notes {
			t.Errorf("%s: notes %q", c.name, x.Notes)
		}
	}
}

// laughs returns ten entities, each of ten times the one before.
func laughs() string {
	all := `<!ENTITY l0 "0123456789">`
	for k := 1; k < 10; k++ {
		all += fmt.Sprintf(`<!ENTITY l%d "%s">`, k, strings.Repeat(fmt.Sprintf("&l%d;", k-1), 10))
	}
	return all
}

func TestEncodings(t *testing.T) {
	const text = `<Server><!-- 中文 かな --><Service name="中"><Connector port="8081"/></Service></Server>`
	declared := func(name string) string { return `<?xml version="1.0" encoding="` + name + `"?>` }
	coded := func(data string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	utf16 := func(e unicode.Endianness, p unicode.BOMPolicy, text string) string {
		return coded(unicode.UTF16(e, p).NewEncoder().String(text))
	}
	for name, data := range map[string]string{
		"UTF-8":              text,
		"UTF-8 with a mark":  "\xef\xbb\xbf" + declared("UTF-8") + text,
		"UTF8":               declared("utf8") + text,
		"GBK":                declared("GBK") + coded(simplifiedchinese.GBK.NewEncoder().String(text)),
		"GB2312":             declared("gb2312") + coded(simplifiedchinese.GBK.NewEncoder().String(text)),
		"GB18030":            declared("GB18030") + coded(simplifiedchinese.GB18030.NewEncoder().String(text)),
		"Shift_JIS":          declared("Shift_JIS") + coded(japanese.ShiftJIS.NewEncoder().String(text)),
		"EUC-JP":             declared("EUC-JP") + coded(japanese.EUCJP.NewEncoder().String(text)),
		"ISO-2022-JP":        declared("ISO-2022-JP") + coded(japanese.ISO2022JP.NewEncoder().String(text)),
		"ISO-8859-1":         declared("ISO-8859-1") + "<!-- \xe9 -->" + `<Server><Service><Connector port="8081"/></Service></Server>`,
		"windows-1251":       declared("windows-1251") + "<!-- \xe9 -->" + `<Server><Service><Connector port="8081"/></Service></Server>`,
		"IBM850":             declared("IBM850") + "<!-- \xe9 -->" + `<Server><Service><Connector port="8081"/></Service></Server>`,
		"UTF-16 with a mark": utf16(unicode.BigEndian, unicode.UseBOM, declared("UTF-16")+text),
		"UTF-16, little":     utf16(unicode.LittleEndian, unicode.UseBOM, declared("UTF-16")+text),
		"UTF-16LE":           utf16(unicode.LittleEndian, unicode.IgnoreBOM, declared("UTF-16LE")+text),
		"UTF-16BE":           utf16(unicode.BigEndian, unicode.IgnoreBOM, declared("UTF-16BE")+text),
	} {
		x, err := ParseServerXML("s.xml", []byte(data), References{}, nil)
		if err != nil || len(x.Connectors) != 1 || x.Connectors[0].Port.Number != 8081 {
			t.Errorf("%s: %v, %+v", name, err, x.Connectors)
		}
	}
	_, err := ParseServerXML("s.xml", []byte(declared("X-UNKNOWN")+text), References{}, nil)
	var e *XMLError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), `the encoding "X-UNKNOWN" is not known`) {
		t.Errorf("an unknown encoding: %v", err)
	}
}

func TestApplications(t *testing.T) {
	base := t.TempDir()
	for _, path := range []string{"webapps/ROOT", "webapps/app", "webapps/a#b", "webapps/par##001", "webapps/par##002", "webapps/META-INF",
		"webapps/.hidden", "webapps/lost+found", "other/x", "conf/Catalina/localhost", "conf/own"} {
		if err := os.MkdirAll(filepath.Join(base, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"webapps/app.war", "webapps/w.war", "webapps/notes.txt", "conf/Catalina/localhost/desc#x.xml",
		"conf/Catalina/localhost/notes.txt", "conf/own/own.xml"} {
		put(t, filepath.Join(base, path), "", 0o644)
	}
	if err := os.Symlink("app", filepath.Join(base, "webapps/link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host string
		want []string
		all  bool
	}{
		{`<Host name="localhost"/>`, []string{"/", "/a/b", "/app", "/desc/x", "/link", "/par", "/w"}, true},
		{`<Host name="localhost" deployIgnore="(a|p).*"/>`, []string{"/", "/desc/x", "/link", "/w"}, true},
		{`<Host name="localhost" deployIgnore="("/>`, []string{"/desc/x"}, false},
		{`<Host name="localhost" deployOnStartup="false"><Context path="/in/server"/><Context path=""/></Host>`, []string{"/", "/in/server"},
			false},
		{`<Host name="localhost" appBase="other" xmlBase="conf/own"/>`, []string{"/own", "/x"}, true},
		{`<Host name="localhost" appBase="` + base + `/other"/>`, []string{"/desc/x", "/x"}, true},
		{`<Host name="elsewhere" appBase="nowhere"/>`, nil, true},
		{`<Host name="a" appBase="webapps/app.war"/>`, nil, false},
	} {
		x, err := ParseServerXML("s.xml", []byte(`<Server><Service><Engine name="Catalina">`+c.host+`</Engine></Service></Server>`), References{},
			nil)
		if got, all := (Install{Base: base}).Applications(x); err != nil || !reflect.DeepEqual(got, c.want) || all != c.all {
			t.Errorf("%s: %q, all %v, %v, want %q", c.host, got, all, err, c.want)
		}
	}
}

func TestDeployFailedNamesItsContext(t *testing.T) {
	p := BuiltinPatterns()
	for line, want := range map[string]string{
		"Error deploying web application archive [/b/webapps/app.war]":               "/app",
		"Error deploying web application directory [/b/webapps/ROOT]":                "/",
		"Error deploying web application directory [/b/webapps/a#b##2]":              "/a/b",
		"Error deploying deployment descriptor [/b/conf/Catalina/localhost/x#y.xml]": "/x/y",
	} {
		if f, ok := p.Match(line); !ok || f.Context != want {
			t.Errorf("%s: %q, %v", line, f.Context, ok)
		}
	}
}
