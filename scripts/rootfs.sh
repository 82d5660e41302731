#!/bin/sh
# rootfs.sh ROOT finishes the root file system of the demo's base image: a user
# for the application, its CATALINA_BASE in /srv/app, and every language that
# Tomcat ships (Debian links only some of them into Tomcat's lib).
set -eu
root=$1
here=$(dirname "$0")
for home in "$root"/usr/share/tomcat[0-9]*; do
	:
done
version=${home##*/tomcat}

echo 'app:x:1000:' >>"$root/etc/group"
echo 'app:x:1000:1000:application:/srv/app:/usr/sbin/nologin' >>"$root/etc/passwd"
sh "$here/base.sh" "$home" "$root/srv/app"
for jar in "$root/usr/share/java/tomcat$version-i18n"-*[!0-9].jar; do
	name=${jar##*/}
	case $name in *-[0-9]*) continue ;; esac
	ln -sf "../../java/$name" "$home/lib/tomcat-${name#tomcat"$version"-}"
done
# What was needed to build it only.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
