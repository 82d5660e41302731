import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Paths;

/** Answers a line with the name of its socket, stdin, and its pid. At TERM it ends between two requests. */
public class Inherited {
    private static volatile boolean ends;

    public static void main(String[] args) throws Exception {
        ServerSocketChannel server = (ServerSocketChannel) System.inheritedChannel();
        server.configureBlocking(false);
        byte[] answer = (System.getenv("LISTEN_FDNAMES") + " " + System.getenv("LISTEN_PID") + "\n").getBytes();
        Files.write(Paths.get(args[0]), answer);
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            ends = true;
            try {
                main.join();
            } catch (InterruptedException e) {
            }
        }));
        for (; !ends; Thread.sleep(1)) {
            for (SocketChannel client; !ends && (client = server.accept()) != null; client.close()) {
                if (client.read(ByteBuffer.allocate(100)) > 0) {
                    client.write(ByteBuffer.wrap(answer));
                }
            }
        }
    }
}
