<%@ page contentType="text/plain; charset=UTF-8" session="false" trimDirectiveWhitespaces="true"
         import="java.util.ArrayList, java.util.Collections, java.util.List, java.util.Random" %>
<%-- What an application does all day: short-lived objects and some sorting. --%>
<%
  Random random = new Random(42);
  List<String> lines = new ArrayList<>();
  for (int i = 0; i < 400; i++) lines.add("item-" + random.nextInt(100000) + "-" + i);
  Collections.sort(lines);
  StringBuilder text = new StringBuilder();
  for (String line : lines) text.append(line).append('\n');
  out.println(text.toString().hashCode());
%>
