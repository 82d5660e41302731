package tomcat

import (
	"fmt"
	"strings"
)

// XMLError is the position of a syntax error in a configuration file.
type XMLError struct {
	File         string
	Line, Column int
	Msg          string
}

func (e *XMLError) Error() string {
	return fmt.Sprintf("cannot parse %s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// ServerXML is the part of conf/server.xml that matters outside Tomcat. A listener may change all of it at run time.
type ServerXML struct {
	File       string
	Connectors []Connector
	Hosts      []Host
	Contexts   []string // paths of the <Context> elements; "/" is ROOT
	// Notes name what was not read, such as an entity behind a URL: there may be more connectors, hosts and contexts.
	Notes []string

	server   place
	services []place
	aprLine  int // of the listener that chooses connectors of the native library; 0: none
}

// place is where a start tag is.
type place struct {
	at     int    // of its "<" in the decoded text of the file
	entity string // the entity that it comes from; empty: it is in the file itself
}

// Port is an attribute that should be a number. Set is false if the attribute is absent or not a number after ${...} was resolved, or if
// the portOffset to be added is not known; Text is the value as written.
type Port struct {
	Number int
	Set    bool
	Text   string
}

// Connector is one <Connector>. Port includes the server's portOffset.
type Connector struct {
	Line       int
	Port       Port
	Address    string // empty: every address
	Socket     string // unixDomainSocketPath, in place of Address and Port; empty: none
	Protocol   string // "HTTP/1.1" if absent
	TLS        bool   // SSLEnabled
	MaxThreads Port
	Executor   *Executor // its threads; nil: threads of its own, up to MaxThreads
	inherits   bool      // useInheritedChannel
	service    int       // index in services of the ServerXML
	place
}

// Executor is one <Executor>: threads that connectors of its <Service> may share.
type Executor struct{ MaxThreads Port }

// HTTP reports whether the connector speaks HTTP and not AJP.
func (c Connector) HTTP() bool { return !strings.Contains(strings.ToUpper(c.Protocol), "AJP") }

// Host is one <Host>.
type Host struct {
	AppBase string
	XMLBase string // folder of the context descriptors
	// Deploys says that the host deploys the content of its folders when it starts, except what DeployIgnore, a regular expression,
	// matches.
	Deploys      bool
	DeployIgnore string
}

// defaultThreads is maxThreads of a connector or executor where none is set.
const defaultThreads = 200

// Threads returns how many threads may serve requests at once, over all connectors; 0: no connector is known. A connector with an executor
// ignores a maxThreads of its own, and an executor is counted once. One with port -1 is off: Tomcat does not start it. Virtual threads
// count like others: that is an upper bound.
func (s ServerXML) Threads() int {
	sum, counted := 0, map[*Executor]bool{}
	for _, c := range s.Connectors {
		switch {
		case c.Port.Set && c.Port.Number < 0:
		case c.Executor == nil:
			sum += poolSize(c.MaxThreads)
		case !counted[c.Executor]:
			counted[c.Executor] = true
			sum += poolSize(c.Executor.MaxThreads)
		}
	}
	return sum
}

// poolSize returns the default for a value that is no int of Java, which Tomcat ignores, and for 0 and less, with which no pool starts.
func poolSize(maxThreads Port) int {
	if n := maxThreads.Number; maxThreads.Set && n > 0 {
		return n
	}
	return defaultThreads
}
