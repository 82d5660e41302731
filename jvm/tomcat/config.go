// Package tomcat does what catalina.sh would do, without a shell: it finds
// Tomcat, builds the argv and environment of its JVM, imports bin/setenv.sh as
// data, reads the facts of server.xml and knows the lines by which Tomcat says
// that an application failed to deploy. It starts nothing.
package tomcat

// What is done with bin/setenv.sh.
const (
	SetenvImport = "import"
	SetenvIgnore = "ignore"
	SetenvRefuse = "refuse"
)

// Config is the tomcat section of a service of kind tomcat.
type Config struct {
	Home   string `yaml:"home"`   // CATALINA_HOME; empty: found
	Base   string `yaml:"base"`   // CATALINA_BASE; empty: CATALINA_BASE or home
	Java   string `yaml:"java"`   // JAVA_HOME or a java binary; empty: found
	Setenv string `yaml:"setenv"` // import (default), ignore, refuse
	// Contexts are the context paths that must be deployed for readiness
	// ("/app", "" or "/" for ROOT); empty: every context.
	Contexts []string `yaml:"contexts" change:"live"`
}
