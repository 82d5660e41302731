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
}

// A name that has "key" in it need not be a key: a JVM's properties are full of them.
func TestNames(t *testing.T) {
	for _, name := range []string{"keyPassword", "apiKey", "API_KEY", "-Dsecret.key", "accessKey", "AWS_ACCESS_KEY_ID", "privateKey", "private_key",
		"-Dapp.privatekey", "SSHKey", "sshkey", "apikeys", "--api-key", "encryption.key", "key", "KEY", "Key2", "masterKey2", "keyStorePassword",
		"-Djavax.net.ssl.keyStorePassword", "KEYSTORE_PASSWORD", "keytoolKey", "keySizeKey", "jasypt.encryptor.key", "hmacKey", "keyMaterial", "x-api-key",
		"token", "ACCESS_TOKEN", "db.passwd", "ssh.passphrase", "clientSecret", "GOOGLE_CREDENTIALS"} {
		if !Name(name) {
			t.Errorf("%s is shown", name)
		}
	}
	for _, name := range []string{"-Djdk.tls.ephemeralDHKeySize", "ephemeralDHKeySize", "keytool", "-Dkeytool.compat", "keyStoreType", "-Djavax.net.ssl.keyStore",
		"javax.net.ssl.keyStoreProvider", "KEYSTORE", "KEYSTORE_TYPE", "keystore.file", "jdk.security.defaultKeySize", "jdk.tls.keyLimits",
		"ssl.KeyManagerFactory.algorithm", "keyAlias", "certificateKeyAlias", "certificateKeyFile", "key.serializer", "key.deserializer", "keyspace",
		"keyboard.layout", "keycloak.url", "keywords", "publicKey", "chaos.monkey.enabled", "java.security.krb5.keytab", "sun.security.keyTab",
		"-XX:+UseKeys", "-XX:KeyX", "-Xkey", "user.name", "sun.net.spi.nameservice.nameservers", ""} {
		if Name(name) {
			t.Errorf("%s is hidden", name)
		}
	}
}

func FuzzArgs(f *testing.F) {
	f.Add("-Dpassword", "secret-value")
	f.Add("--url", "jdbc://u:p@h?password=1")
	f.Fuzz(func(t *testing.T, name, value string) {
		Args([]string{name, value, name + "=" + value})
		if got := Args([]string{"-Dmy.password=" + value}); got[0] != "-Dmy.password=***" {
			t.Errorf("%q", got)
		}
		if line := Line("a -Dpassword=" + strings.ReplaceAll(value, " ", "")); strings.Contains(line, "=") && !strings.HasSuffix(line, "=***") {
			t.Errorf("%q", line)
		}
	})
}
