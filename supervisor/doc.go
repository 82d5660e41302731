// Package supervisor keeps services running: one goroutine and one state
// machine for each service, and a Supervisor that owns the set, its order and
// its end. It starts nothing itself (internal/proc does) and knows neither
// Tomcat nor hooks: it calls the small interfaces that it defines.
package supervisor
