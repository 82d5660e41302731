package tomcat

import (
	"slices"
	"strings"
	"testing"
)

const stamp = "23-Nov-2026 07:01:10.113 SEVERE [main] org.apache.catalina.core.StandardContext.startInternal "

func TestMatchLanguages(t *testing.T) {
	p := BuiltinPatterns()
	for lang, line := range map[string]string{
		"en":    "Context [/app] startup failed due to previous errors",
		"es":    "Falló en arranque del Contexto [/app] debido a errores previos",
		"fr":    "Erreur de démarrage du contexte [/app] suite aux erreurs précédentes",
		"ja":    "以前のエラーのためにコンテキストの起動が失敗しました [/app]",
		"ko":    "이전 오류들로 인해 컨텍스트 [/app]의 시작이 실패했습니다.",
		"zh":    "由于之前的错误，Context[/app]启动失败",
		"ascii": "????????Context[/app]????",
	} {
		for _, l := range []string{stamp + line, stamp + line + "\r\n"} {
			f, ok := p.Match(l)
			if !ok || f.Kind != ContextFailed || f.Context != "/app" || f.Time.IsZero() {
				t.Errorf("%s: %q gave %+v, %v", lang, l, f, ok)
			}
		}
	}
	for _, line := range []string{
		"", "x", "????", "[main] org.apache.catalina.core.StandardService.startInternal ??????[Catalina]",
		"????????Context[/app]????", // without the class of Tomcat
		"the Context [/app] startup failed due to previous errors, again", "noContext [/app] startup failed due to previous errors",
		"23-Nov-2026 07:02:01.247 信息 [Thread-1] org.apache.catalina.core.StandardService.stopInternal 正在停止服务[Catalina]",
	} {
		if f, ok := p.Match(line); ok {
			t.Errorf("%q gave %+v", line, f)
		}
	}
	if f, ok := p.Match(`{"level": "SEVERE", "message": "Context [] startup failed due to previous errors"}`); !ok || f.Context != "/" {
		t.Errorf("JSON layout, ROOT: %+v, %v", f, ok)
	}
}

// TestTemplatesOfEveryLanguage formats each message of the installed Tomcat and matches it.
func TestTemplatesOfEveryLanguage(t *testing.T) {
	p, err := LoadPatterns(homeCopy(t))
	if err != nil {
		t.Fatal(err)
	}
	langs := map[string]int{}
	all := slices.Concat(p.closed, p.open)
	for _, c := range all {
		var b strings.Builder
		b.WriteString("23-Nov-2026 07:01:10.113 X [main] a" + c.required + "m ")
		for i, l := range c.literals {
			b.WriteString(l)
			if i < len(c.args) {
				b.WriteString([]string{"/app", "7", "8", "9"}[c.args[i]])
			}
		}
		f, ok := p.Match(b.String())
		if !ok {
			t.Errorf("%s %s: %q not recognised", c.key, c.lang, b.String())
			continue
		}
		if c.required == "" && c.kind != f.Kind {
			t.Errorf("%s %s: %q is %s, want %s", c.key, c.lang, b.String(), f.Kind, c.kind)
		}
		if c.kind == ContextFailed && f.Context != "/app" {
			t.Errorf("%s %s: context %q", c.key, c.lang, f.Context)
		}
		langs[c.lang]++
	}
	for _, lang := range []string{"", "cs", "de", "es", "fr", "ja", "ko", "pt_BR", "ru", "zh_CN"} {
		if langs[lang] == 0 && isFile("/usr/share/java/tomcat10-i18n-"+strings.Replace(lang, "_", "-", 1)+".jar") {
			t.Errorf("no message in language %q", lang)
		}
	}
	t.Logf("%d templates, by language %v", len(all), langs)
}

func one(t *testing.T, text string) Finding {
	t.Helper()
	f, ok := Worst(diagnose(BuiltinPatterns(), strings.Split(text, "\n")))
	if !ok {
		t.Fatalf("nothing found in\n%s", text)
	}
	return f
}

func TestDiagnose(t *testing.T) {
	const sax = "	org.xml.sax.SAXParseException; systemId: file:/srv/a%20b/conf/server.xml; lineNumber: 161; columnNumber: 5; The element type \"Engine\" must be terminated.\n\t\tat java.xml/com.sun.X.y(X.java:1)\n"
	for _, c := range []struct{ name, text, want string }{
		{
			"server.xml", "23-Nov-2026 07:02:02.358 SEVERE [main] org.apache.tomcat.util.digester.Digester.fatalError Parse fatal error at line [161] column [5]\n" + sax +
				"23-Nov-2026 07:02:02.383 WARNING [main] c.m Unable to load server configuration from [/srv/a b/conf/server.xml]\n" + sax,
			`/srv/a b/conf/server.xml:161:5: The element type "Engine" must be terminated.`,
		},
		{
			"port", `SEVERE [main] x Failed to initialize component [Connector["http-nio-127.0.0.1-18181"]]` +
				"\n\torg.apache.catalina.LifecycleException: Protocol handler initialization failed\n\t\tat a.b(C.java:1)\n\tCaused by: java.net.BindException: Address already in use\n\t\t... 13 more",
			"cannot use port 18181 on 127.0.0.1: org.apache.catalina.LifecycleException: Protocol handler initialization failed; caused by java.net.BindException: Address already in use (C.java:1)",
		},
		{"port in Chinese", `严重 [main] x 初始化组件[Connector["https-jsse-nio-8443"]]失败。`, "cannot use port 8443"},
		{"old connector name", `SEVERE: Failed to initialize component [Connector[HTTP/1.1-8080]]`, "cannot use port 8080"},
		{"shutdown port", "x Failed to create server shutdown socket on address [localhost] and port [8005] (base port [8005] and offset [0])\njava.net.BindException: Address already in use", "cannot use port 8005 on localhost: java.net.BindException: Address already in use"},
		{"option", "Unrecognized VM option 'Nope'\nError: Could not create the Java Virtual Machine.",
			"JVM option -XX:Nope refused: Unrecognized VM option 'Nope'"},
		{"heap", "Invalid maximum heap size: -Xmx1.5g\nError: Could not create the Java Virtual Machine.",
			"JVM option -Xmx1.5g refused: Invalid maximum heap size: -Xmx1.5g"},
		{
			"range", "intx ThreadStackSize=9 is outside the allowed range [ 0 ... 1 ]\nImproperly specified VM option 'ThreadStackSize=9'",
			"JVM option -XX:ThreadStackSize=9 refused: Improperly specified VM option 'ThreadStackSize=9' (intx ThreadStackSize=9 is outside the allowed range [ 0 ... 1 ])",
		},
		{"xms", "Error occurred during initialization of VM\nInitial heap size set to a larger value than the maximum heap size",
			"the JVM cannot start: Initial heap size set to a larger value than the maximum heap size"},
		{"agent", "Error opening zip file or JAR manifest missing : /nope.jar\nError occurred during initialization of VM\nagent library failed to init: instrument", "JVM option -javaagent:/nope.jar refused: Error opening zip file or JAR manifest missing : /nope.jar"},
		{"main class", "Error: Could not find or load main class org.apache.catalina.startup.Bootstrap",
			"the JVM cannot start: Error: Could not find or load main class org.apache.catalina.startup.Bootstrap"},
		{
			"cause on the console", "x Exception sending context initialized event to listener instance of class [Boom]\n\tjava.lang.IllegalStateException: db\n\t\tat Boom.init(Boom.java:3)\n" + stamp + "Context [/bad] startup failed due to previous errors",
			"application /bad failed to start: java.lang.IllegalStateException: db (Boom.java:3)",
		},
		{
			"web.xml", "x Parse fatal error at line [3] column [3]\n\torg.xml.sax.SAXParseException; systemId: file:/w/WEB-INF/web.xml; lineNumber: 3; columnNumber: 3; bad\n" + stamp + "Context [/w] startup failed due to previous errors",
			"application /w failed to start: bad (/w/WEB-INF/web.xml:3:3)",
		},
		{
			"deploy", "x Error deploying web application archive [/w/a.war]\n\tjava.lang.IllegalStateException: Error starting child\n\tCaused by: org.apache.catalina.LifecycleException: Failed to start component [StandardEngine[Catalina].StandardHost[localhost].StandardContext[/a]]",
			"cannot deploy /w/a.war: java.lang.IllegalStateException: Error starting child; caused by org.apache.catalina.LifecycleException: Failed to start component [StandardEngine[Catalina].StandardHost[localhost].StandardContext[/a]]",
		},
	} {
		if got := one(t, c.text).String(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestStartedAndBounds(t *testing.T) {
	w := NewOutputReader(BuiltinPatterns())
	f, ok := w.Line("23-Nov-2026 07:01:11.104 INFO [main] org.apache.catalina.startup.Catalina.start Server startup in [2,254] milliseconds")
	if !ok || f.Kind != Started {
		t.Errorf("%+v, %v", f, ok)
	}
	// The output of a JVM that the application runs is ignored.
	if f, ok := w.Line("Unrecognized VM option 'X'"); ok {
		t.Errorf("%+v", f)
	}
	for range 1000 {
		w.Line("x Error deploying web application archive [/a.war]")
	}
	if n := len(w.Findings()); n > maxFindings {
		t.Errorf("%d findings kept", n)
	}
}

func FuzzOutputReader(f *testing.F) {
	f.Add(stamp + "Context [/a] startup failed due to previous errors\n\tjava.lang.X: y\n\t\tat A.b(C.java:1)")
	f.Add("SAXParseException; systemId: file:///x%zz; lineNumber: 1")
	f.Add("Error occurred during initialization of VM\n\nx")
	p := BuiltinPatterns()
	f.Fuzz(func(_ *testing.T, text string) {
		for _, found := range diagnose(p, strings.Split(text, "\n")) {
			_ = found.String()
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("Context [{0}] it''s '{'x'}' {1,number}", "a Context [x] it's {x} 3")
	f.Fuzz(func(_ *testing.T, text, line string) {
		if t, ok := newTemplate("standardContext.x", "", text); ok {
			t.match(line)
		}
	})
}

func BenchmarkOrdinaryLine(b *testing.B) {
	p := BuiltinPatterns()
	w := NewOutputReader(p)
	line := "23-Nov-2026 07:01:11.016 INFO [http-nio-8080-exec-4] com.example.shop.OrderController.get order 4711 delivered in 12 ms"
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		w.Line(line)
	}
}

// diagnose returns the findings of the output of one start.
func diagnose(p *Patterns, lines []string) []Finding {
	w := NewOutputReader(p)
	for _, l := range lines {
		w.Line(l)
	}
	return w.Findings()
}
