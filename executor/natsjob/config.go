package natsjob

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Config is the section executor.nats. An empty URL means that there is no adapter.
type Config struct {
	// URL has the servers: nats://HOST:PORT or tls://HOST:PORT, several with commas between them.
	URL string `yaml:"url" secret:"url"`
	// Stream has the messages, and Consumer (default stoker) is its durable pull consumer, which all containers share.
	Stream   string `yaml:"stream"`
	Consumer string `yaml:"consumer"`
	// Results is the subject of final states, which a stream must store; empty: they are not published.
	Results string `yaml:"results"`
	// States is the subject of every state of a job; nothing repeats a message that is lost. Empty: they are not published.
	States string `yaml:"states"`
	// Cancel is the subject of requests to stop a job; empty: there are none.
	Cancel string `yaml:"cancel"`
	// At most one of these has the credentials: a .creds file, a token, or the seed of an nkey.
	CredsFile string `yaml:"creds_file" check:"absolute"`
	TokenFile string `yaml:"token_file" check:"absolute"`
	NKeyFile  string `yaml:"nkey_file" check:"absolute"`
	// CAFile has the authorities that the servers' certificates need; empty: the system's. CertFile and KeyFile are our own certificate.
	CAFile   string `yaml:"ca_file" check:"absolute"`
	CertFile string `yaml:"cert_file" check:"absolute"`
	KeyFile  string `yaml:"key_file" check:"absolute"`
}

// DefaultConsumer is the name of the consumer where none is configured.
const DefaultConsumer = "stoker"

func (c Config) consumer() string {
	if c.Consumer == "" {
		return DefaultConsumer
	}
	return c.Consumer
}

// Validate returns what is wrong, beyond what the tags check.
func (c *Config) Validate() (out []executor.FieldError) {
	bad := func(field, why string, args ...any) {
		out = append(out, executor.FieldError{Field: field, Why: fmt.Sprintf(why, args...)})
	}
	if c.URL == "" {
		if *c != (Config{}) {
			bad("url", "it is required")
		}
		return out
	}
	for _, one := range strings.Split(c.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss" {
			bad("url", "it has an element that is not like nats://HOST:PORT or tls://HOST:PORT") // which may have a password
		}
	}
	for field, name := range map[string]string{"stream": c.Stream, "consumer": c.consumer()} {
		if name == "" {
			bad(field, "it is required")
		} else if strings.ContainsAny(name, " \t\r\n.*>/\\") {
			bad(field, "%q has a character that names in NATS cannot have", name)
		}
	}
	for field, subject := range map[string]string{"results": c.Results, "states": c.States, "cancel": c.Cancel} {
		if subject != "" && (strings.ContainsAny(subject, " \t\r\n*>") || strings.Contains("."+subject+".", "..")) {
			bad(field, "%q is no subject such as jobs.results: wildcards and empty parts are not allowed", subject)
		}
	}
	if c.Results != "" && c.Results == c.States {
		bad("states", "it cannot be the same as results")
	}
	files := 0
	for _, file := range []string{c.CredsFile, c.TokenFile, c.NKeyFile} {
		if file != "" {
			files++
		}
	}
	if files > 1 {
		bad("creds_file", "only one of creds_file, token_file and nkey_file can be set")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		bad("cert_file", "cert_file and key_file need each other")
	}
	return out
}

// maxToken is the largest size of a token, in bytes.
const maxToken = 16 << 10

// Timing of the connection.
const (
	reconnectWait = time.Second      // and up to a second more, so that a fleet does not come back at once
	pingInterval  = 10 * time.Second // a connection is dead after two pings without an answer
)

// options are those of the connection. The files are read with each connect, so that new ones are used; the nkey only here.
func (c *Config) options(host string) ([]nats.Option, error) {
	out := []nats.Option{nats.Name("stoker " + host), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2)}
	switch {
	case c.CredsFile != "":
		out = append(out, nats.UserCredentials(c.CredsFile))
	case c.TokenFile != "":
		out = append(out, nats.TokenHandler(func() string {
			text, _ := untrusted.ReadFile(c.TokenFile, maxToken) // without a token the server says what is wrong
			return strings.TrimSpace(string(text))
		}))
	case c.NKeyFile != "":
		option, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use nkey_file: %w", err)
		}
		out = append(out, option)
	}
	if c.CAFile != "" {
		out = append(out, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		out = append(out, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return out, nil
}
