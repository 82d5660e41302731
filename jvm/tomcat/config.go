// Package tomcat does what catalina.sh does, without a shell: it finds Tomcat, builds the argv and environment of its JVM, imports
// bin/setenv.sh as data, reads server.xml, and matches the log lines of failed deployments. It starts no process.
package tomcat

// Values of Config.Setenv, the treatment of bin/setenv.sh.
const (
	SetenvImport = "import"
	SetenvIgnore = "ignore"
	SetenvRefuse = "refuse"
)

// Config is the tomcat section of a service of kind tomcat.
type Config struct {
	Home   string `yaml:"home" check:"absolute"`                                      // CATALINA_HOME; empty: found
	Base   string `yaml:"base" check:"absolute"`                                      // CATALINA_BASE; empty: CATALINA_BASE or home
	Java   string `yaml:"java" check:"literal"`                                       // JAVA_HOME or a java binary; empty: found
	Setenv string `yaml:"setenv" default:"import" check:"oneof import ignore refuse"` // import (default), ignore, refuse
	// Contexts are the context paths that must be deployed for readiness ("/app", "" or "/" for ROOT); empty: every context.
	Contexts []string `yaml:"contexts" change:"live"`
}
