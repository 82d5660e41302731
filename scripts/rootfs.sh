#!/bin/sh
# rootfs.sh ROOT completes the root file system of the base image: a user for the application, its
# CATALINA_BASE in /srv/app, and all languages of Tomcat (Debian links only some into its lib).
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
# Needed only for the build.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
