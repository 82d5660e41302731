package tomcat

import (
	"errors"
	"time"
)

// Rendering says how the copy of a server.xml differs from the file.
type Rendering struct {
	// Port or Socket is the address of the listening socket that the JVM has as stdin: the connector with it takes that socket. Both are
	// empty only with Private: then it is the first connector that speaks HTTP.
	Port   int
	Socket string // as written in unixDomainSocketPath
	// SocketPath replaces Socket in the copy: Tomcat deletes that path when it stops. Empty: it stays.
	SocketPath string
	// GracefulStop is the time for requests under way when the connector stops, if the file has none (gracefulStopAwaitMillis).
	GracefulStop time.Duration
	// JavaMajor is the version of the JVM; 0: unknown.
	JavaMajor int
	// Private moves what else would listen out of the way of another Tomcat with the same file: no shutdown port, and other connectors on
	// ephemeral ports.
	Private bool
}

// RenderServerXML returns the copy of a server.xml for a start with "-config": attributes are inserted or replaced, all other bytes stay.
// x is what ServerXML has read from data. The error says why no connector can take the socket, with file and line.
func (in Install) RenderServerXML(data []byte, x ServerXML, how Rendering) ([]byte, error) {
	return nil, errors.New("cannot render server.xml: not built yet")
}
