package tomcat

// jvmLine recognises what the JVM says when it cannot start. Once Tomcat is up that
// means nothing: an application may run a JVM of its own.
func (w *OutputReader) jvmLine(line string) (Finding, bool) {
	if w.started {
		return Finding{}, false
	}
	r, ok := w.startupErrors.Line(line)
	switch {
	case !ok:
		return Finding{}, false
	case r.Option == "":
		return Finding{Kind: JVMFailed, Message: r.Message}, true
	}
	return Finding{Kind: JVMOption, Option: r.Option, Message: r.Message}, true
}
