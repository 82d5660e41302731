#!/bin/sh
# base.sh TOMCAT_HOME DIR makes a CATALINA_BASE in DIR out of the skeleton of
# Debian's Tomcat, with logs like those of Apache's own distribution and with
# the folders that Tomcat writes to open to every user.
set -eu
home=$1
base=$2
mkdir -p "$base/bin" "$base/lib" "$base/webapps" "$base/logs" "$base/temp" "$base/work"
cp -r "$home/skel/conf" "$base/conf"
# Tomcat would make it at every start, and complains where it may not.
mkdir -p "$base/conf/Catalina/localhost"
sed -i 's/org.apache.juli.SystemdFormatter/org.apache.juli.OneLineFormatter/' "$base/conf/logging.properties"
chmod -R a+rX "$base"
chmod 1777 "$base/logs" "$base/temp" "$base/work"
