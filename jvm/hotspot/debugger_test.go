package hotspot

import (
	"strings"
	"testing"
)

func TestFindDebugger(t *testing.T) {
	for _, c := range []struct {
		args string
		env  string // of JAVA_TOOL_OPTIONS
		want *Debugger
	}{
		{"-Xmx1g Main", "", nil},
		{"-Xdebug Main", "", nil}, // loads no agent by itself
		{"-agentlib:jdwp=transport=dt_socket,server=y,suspend=y,address=*:5005 Main", "", &Debugger{Port: 5005, Server: true, Suspend: true}},
		{"-agentlib:jdwp=transport=dt_socket,server=y,address=5005 Main", "", &Debugger{Port: 5005, Server: true, Suspend: true}},
		{"-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=localhost:5005 -jar app.jar", "", &Debugger{Port: 5005, Server: true}},
		{"-Xdebug -Xrunjdwp:transport=dt_socket,server=y,address=127.0.0.1:8000 Main", "", &Debugger{Port: 8000, Server: true, Suspend: true}},
		{"-agentpath:/jdk/lib/libjdwp.so=transport=dt_socket,server=y,address=[::1]:7 Main", "", &Debugger{Port: 7, Server: true, Suspend: true}},
		{"-agentlib:jdwp=transport=dt_socket,address=ide.example:5005 Main", "", &Debugger{Port: 5005, Suspend: true}},
		{"-agentlib:jdwp=transport=dt_socket,server=n,suspend=n,address=ide:5005 Main", "", &Debugger{Port: 5005}},
		{"-agentlib:jdwp=transport=dt_socket,server=y Main", "", &Debugger{Server: true, Suspend: true}},
		{"-agentlib:jdwp=transport=dt_socket,server=y,onthrow=java.io.IOException,launch=/bin/true,address=1 Main", "",
			&Debugger{Port: 1, Server: true, Suspend: true}},
		{"-agentlib:jdwp=transport=dt_socket,server=y,onuncaught=y,suspend=n,launch=x,address=1 Main", "", &Debugger{Port: 1, Server: true}},
		{"-agentlib:jdwp=transport=dt_socket,server=y,onjcmd=y,address=1 Main", "", &Debugger{Port: 1, Server: true}},
		{"Main", "-Xmx1g -agentlib:jdwp=transport=dt_socket,server=y,address=6", &Debugger{Port: 6, Server: true, Suspend: true}},
		{"-cp /lib/a.jar Main -agentlib:jdwp=transport=dt_socket,server=y,address=6", "", nil}, // an argument of the application
		{"-jar app.jar -agentlib:jdwp=transport=dt_socket,server=y,address=6", "", nil},
		{"-agentlib:jdwpx=address=1 Main", "", nil},
		{"-agentlib:jdwp=help Main", "", &Debugger{Suspend: true}},
	} {
		got, ok := FindDebugger(append([]string{"/jdk/bin/java"}, strings.Fields(c.args)...), func(name string) string {
			return map[string]string{"JAVA_TOOL_OPTIONS": c.env}[name]
		})
		switch {
		case ok != (c.want != nil):
			t.Errorf("%s %s: found %v", c.args, c.env, ok)
		case ok && got != *c.want:
			t.Errorf("%s %s: %+v, want %+v", c.args, c.env, got, *c.want)
		}
	}
	if _, ok := FindDebugger(strings.Fields("/bin/sh /t/catalina.sh -agentlib:jdwp=address=1 run"), func(string) string { return "" }); ok {
		t.Error("a shell is no JVM")
	}
}

func FuzzFindDebugger(f *testing.F) {
	f.Add("-Xmx1g -cp a -agentlib:jdwp=server=y,address=*:5005 Main", "-Xrunjdwp:address=x:1")
	f.Fuzz(func(t *testing.T, args, env string) {
		d, found := FindDebugger(append([]string{"java"}, strings.Fields(args)...), func(string) string { return env })
		if !found && d != (Debugger{}) {
			t.Errorf("%+v of nothing", d)
		}
	})
}
