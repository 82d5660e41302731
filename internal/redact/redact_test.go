package redact

import (
	"slices"
	"strings"
	"testing"
)

func TestArgs(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{[]string{"java", "-Xmx1g", "-Dapp.name=x", "-jar", "a.jar"}, []string{"java", "-Xmx1g", "-Dapp.name=x", "-jar", "a.jar"}},
		{[]string{"-Ddb.password=a b;c,d", "-Djavax.net.ssl.keyStorePassword=x", "--api-token=y", "AWS_SECRET_ACCESS_KEY=z"},
			[]string{"-Ddb.password=***", "-Djavax.net.ssl.keyStorePassword=***", "--api-token=***", "AWS_SECRET_ACCESS_KEY=***"}},
		{[]string{"--password", "x", "--token", "--next", "-p", "y"}, []string{"--password", "***", "--token", "--next", "-p", "y"}},
		{[]string{"-Durl=jdbc:mysql://db/x?user=u&password=geheim&ssl=1"}, []string{"-Durl=jdbc:mysql://db/x?user=u&password=***&ssl=1"}},
		{[]string{"-javaagent:/a.jar=apiKey=abc,server=s"}, []string{"-javaagent:/a.jar=apiKey=***,server=s"}},
		{[]string{"http://me:se:c@ret@host/p?x=1", "http://me@host/", "a://b:c@d,e://f:g@h"},
			[]string{"http://me:***@host/p?x=1", "http://me@host/", "a://b:***@d,e://f:***@h"}},
		{[]string{"-Djdk.tls.ephemeralDHKeySize=2048", "-Djavax.net.ssl.keyStore=/etc/key.p12", "-XX:OnError=curl -d key=geheim http://h"},
			[]string{"-Djdk.tls.ephemeralDHKeySize=2048", "-Djavax.net.ssl.keyStore=/etc/key.p12", "-XX:OnError=curl -d key=*** http://h"}},
		{[]string{"--db-pass=geheim", "DB_PASS=geheim", "dbpass=geheim", "--db-pass", "geheim", "PWD=/app", "MYSQL_PWD=geheim", "-Dpwd=geheim"},
			[]string{"--db-pass=***", "DB_PASS=***", "dbpass=***", "--db-pass", "***", "PWD=/app", "MYSQL_PWD=***", "-Dpwd=***"}},
		{[]string{"-Dproxy.authorization=Basic Z2VoZWlt", "-H",
			"Authorization: Bearer geheim", "Cookie: a=geheim; b=geheim", "authorization:none"},
			[]string{"-Dproxy.authorization=***", "-H", "Authorization: ***", "Cookie: ***; b=geheim", "authorization:none"}},
		{[]string{"https://u:pw:?@host/", "https://u:a/b@host/x@y", "https://u:p#w?x",
			"https://u:123456@h", "see http://h:8080: refused", "http://h:80/@scope/x", "http://[::1]:80/"},
			[]string{"https://u:***@host/", "https://u:***@y", "https://u:***", "https://u:***@h",
				"see http://h:8080: refused", "http://h:80/@scope/x", "http://[::1]:80/"}},
		{[]string{"https://u:/geheim@host/", "https://u:?geheim@host/x", "https://[u:geheim", "see http://h: refused", "http://h:/",
			`error="Get \"http://h:8080\": refused"`, "unix:///run/a.sock:/x", "file:///a:b"},
			[]string{"https://u:***@host/", "https://u:***@host/x", "https://[u:***", "see http://h: refused", "http://h:***",
				`error="Get \"http://h:8080\": refused"`, "unix:///run/a.sock:/x", "file:///a:b"}},
		{[]string{"http://${HOST}:${PORT:-80}/x", "redis://:geheim@h:1",
			"mongodb://u:geheim@a:1,b:2/x", "http://h/?password=a;b,c?d&x=1#password=e"},
			[]string{"http://${HOST}:${PORT:-80}/x", "redis://:***@h:1", "mongodb://u:***@a:1,b:2/x", "http://h/?password=***&x=1#password=***"}},
		{[]string{`{"token":"abc=","a":1}`, `{"db": {"password" : "a b"}}`, `Client required password="a b" username="u";`,
			`user='u' password='a b'`, "password: geheim", "{password=geheim}", "db.password = geheim"},
			[]string{`{"token":"***","a":1}`, `{"db": {"password" : "***"}}`, `Client required password="***" username="u";`,
				`user='u' password='***'`, "password: ***", "{password=***}", "db.password = ***"}},
		{[]string{"unexpected token: x", "services.web.secrets.DB: cannot read it",
			"/run/secrets/db: no such file", "secret.yaml:12: bad", "a:/run/secrets:/x",
			"cannot open /etc/passwd: not a directory", "cannot run \"/x/y/cookie: no such file"},
			[]string{"unexpected token: x", "services.web.secrets.DB: cannot read it",
				"/run/secrets/db: no such file", "secret.yaml:12: bad", "a:/run/secrets:/x",
				"cannot open /etc/passwd: not a directory", "cannot run \"/x/y/cookie: no such file"}},
		{[]string{"user/password: geheim", "(/password: geheim"}, []string{"user/password: ***", "(/password: ***"}},
		{[]string{"", "=", "==", "password=", "://", "-"}, []string{"", "=", "==", "password=***", "://", "-"}},
	} {
		before := slices.Clone(c.in)
		if got := Args(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		if !slices.Equal(before, c.in) {
			t.Errorf("%q was changed to %q", before, c.in)
		}
	}
	if got, want := Line("jvm_args: -Dmy.password=geheim -Xmx32m --token x"), "jvm_args: -Dmy.password=*** -Xmx32m --token ***"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := Line(`error="cannot use \"-Xmx1q -Ddb.pass=a\": \"-Ddb.pass=a\"; see \"--token b\""`),
		`error="cannot use \"-Xmx1q -Ddb.pass=***\": \"-Ddb.pass=***\"; see \"--token ***\""`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := Text("java -Dproxy.authorization=Basic geheim -Xmx1g\nDB_PASS=geheim"),
		"java -Dproxy.authorization=*** -Xmx1g\nDB_PASS=***"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A name that has "key" in it need not be a key: a JVM's properties are full of them.
func TestNames(t *testing.T) {
	for _, name := range []string{"keyPassword", "apiKey", "API_KEY", "-Dsecret.key", "accessKey", "AWS_ACCESS_KEY_ID", "privateKey",
		"private_key",
		"-Dapp.privatekey", "SSHKey", "sshkey", "apikeys", "--api-key", "encryption.key", "key", "KEY", "Key2", "masterKey2", "keyStorePassword",
		"-Djavax.net.ssl.keyStorePassword", "KEYSTORE_PASSWORD", "keytoolKey", "keySizeKey", "jasypt.encryptor.key", "hmacKey", "keyMaterial",
		"x-api-key",
		"token", "ACCESS_TOKEN", "DB_PASS", "--db-pass", "dbPass", "userpass", "user.pwd", "MYSQL_PWD", "pwd", "Proxy-Authorization",
		"proxy.authorization",
		"Set-Cookie", "ERLANG_COOKIE", "X-Amz-Signature", "sig", "javax.net.ssl.trustStorePassword", "PASSWORDS", "db.passwd", "ssh.passphrase",
		"clientSecret", "GOOGLE_CREDENTIALS"} {
		if !Name(name) {
			t.Errorf("%s is shown", name)
		}
	}
	for _, name := range []string{"-Djdk.tls.ephemeralDHKeySize", "ephemeralDHKeySize", "keytool", "-Dkeytool.compat", "keyStoreType",
		"-Djavax.net.ssl.keyStore",
		"javax.net.ssl.keyStoreProvider", "KEYSTORE", "KEYSTORE_TYPE", "keystore.file", "jdk.security.defaultKeySize", "jdk.tls.keyLimits",
		"ssl.KeyManagerFactory.algorithm", "keyAlias", "certificateKeyAlias", "certificateKeyFile", "key.serializer", "key.deserializer",
		"keyspace",
		"keyboard.layout", "keycloak.url", "keywords", "publicKey", "chaos.monkey.enabled", "java.security.krb5.keytab", "sun.security.keyTab",
		"PWD", "OLDPWD", "bypass", "PASS_THROUGH", "passive", "DB_PASSWORD_FILE", "token_file", "password.path", "cookie.domain",
		"jwt.signature.algorithm",
		"KEYSTORE_PATH", "javax.net.ssl.trustStore", "java.security.auth.login.config",
		"-XX:+UseKeys", "-XX:KeyX", "-Xkey", "user.name", "sun.net.spi.nameservice.nameservers", ""} {
		if Name(name) {
			t.Errorf("%s is hidden", name)
		}
	}
}

func FuzzArgs(f *testing.F) {
	f.Add("-Dpassword", "secret-value")
	f.Add("--url", "jdbc://u:p@h?password=1")
	f.Add("pw:?", "a=b:c@d")
	f.Add(`"`, `'a"b`)
	f.Fuzz(func(t *testing.T, name, value string) {
		Args([]string{name, value, name + "=" + value})
		if got := Args([]string{"-Dmy.password=" + value}); got[0] != "-Dmy.password=***" {
			t.Errorf("%q", got)
		}
		if line := Line("a -Dpassword=" + strings.NewReplacer(" ", "", `"`, "", "'", "").Replace(value)); strings.Contains(line, "=") &&
			!strings.HasSuffix(line, "=***") {
			t.Errorf("%q", line)
		}
		for _, text := range []string{name, value, name + value} {
			once := Text(text)
			if strings.Count(once, "\n") != strings.Count(text, "\n") {
				t.Errorf("%q became %q", text, once)
			}
		}
		// In every place a value without the characters that end it there is hidden.
		secret := "geheim" + strings.Map(func(r rune) rune {
			if strings.ContainsRune(" \t\r\n\"',;&#@})", r) {
				return -1
			}
			return r
		}, value) + "geheim"
		for _, form := range []string{"--db-pass=%", "DB_PASS=%", "-Dproxy.authorization=Basic %", "Authorization: Bearer %",
			"https://user:%@host/x", "http://host/?a=b&password=%",
			"jdbc:x://host/db?user=u&pwd=%&ssl=1", `{"apiKey": "%"}`, "jaas password='%' x", "-javaagent:/a.jar=apiKey=%,b=c", "http://u:%"} {
			if got := Text("some text " + strings.ReplaceAll(form, "%", secret) + " more"); strings.Contains(got, "geheim") {
				t.Errorf("%s of %q is %q", form, secret, got)
			}
		}
	})
}
