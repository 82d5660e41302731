#!/bin/sh
# base.sh TOMCAT_HOME DIR creates a CATALINA_BASE in DIR from the skeleton of Debian's Tomcat,
# with the log configuration of Apache's distribution. Every user may write to the folders that
# Tomcat writes to.
set -eu
home=$1
base=$2
mkdir -p "$base/bin" "$base/lib" "$base/webapps" "$base/logs" "$base/temp" "$base/work"
cp -r "$home/skel/conf" "$base/conf"
# Tomcat would create it at every start, and logs an error if it may not.
mkdir -p "$base/conf/Catalina/localhost"
sed -i 's/org.apache.juli.SystemdFormatter/org.apache.juli.OneLineFormatter/' "$base/conf/logging.properties"
chmod -R a+rX "$base"
chmod 1777 "$base/logs" "$base/temp" "$base/work"
