import java.util.Map;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** Asks a JMX port for the name of its JVM: PORT NAME PASSWORD. */
public class Jmx {
    public static void main(String[] args) throws Exception {
        var url = new JMXServiceURL("service:jmx:rmi:///jndi/rmi://127.0.0.1:" + args[0] + "/jmxrmi");
        Map<String, Object> env = args.length < 3 ? Map.of() : Map.of("jmx.remote.credentials", new String[] {args[1], args[2]});
        try (var c = JMXConnectorFactory.connect(url, env)) {
            System.out.println("vm " + c.getMBeanServerConnection().getAttribute(new ObjectName("java.lang:type=Runtime"), "VmName"));
        } catch (SecurityException e) {
            System.out.println("refused " + e.getMessage());
        }
    }
}
