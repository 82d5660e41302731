#!/usr/bin/perl
# Takes port 8080 and answers "ok" to whatever is asked.
use strict;
use warnings;
use Socket;

socket(my $server, PF_INET, SOCK_STREAM, getprotobyname('tcp') || 6) or die "cannot make a socket: $!";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, pack('l', 1));
bind($server, sockaddr_in(8080, INADDR_ANY)) or die "cannot take port 8080: $!";
listen($server, 64) or die "cannot listen: $!";
while (accept(my $client, $server)) {
    sysread($client, my $request, 4096);
    syswrite($client, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
    close($client);
}
