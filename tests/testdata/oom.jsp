<%@ page contentType="text/plain; charset=UTF-8" session="false" import="java.util.ArrayList, java.util.List" %>
<%
  // Takes the heap until there is none left.
  List<byte[]> kept = new ArrayList<>();
  while (kept.size() >= 0) kept.add(new byte[1 << 20]);
%>
