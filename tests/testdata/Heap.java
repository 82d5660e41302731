// Heap fills 120 MiB of its heap and drops them, at the start and whenever there is a file FOLDER/fill, which it replaces by FOLDER/filled.
// It keeps 20 MiB, and makes garbage all the time.
import java.io.File;

public class Heap {
    static byte[][] kept = new byte[320][];
    static byte[][] dropped;

    static void fill(byte[][] blocks) {
        for (int i = 0; i < blocks.length; i++) {
            blocks[i] = new byte[1 << 16];
        }
    }

    public static void main(String[] args) throws Exception {
        File fill = new File(args[0], "fill"), filled = new File(args[0], "filled");
        for (boolean first = true; ; first = false) {
            if (first || fill.exists()) {
                dropped = new byte[1920][];
                fill(dropped);
                dropped = null;
                filled.createNewFile();
                fill.delete();
            }
            fill(new byte[32][]);
            if (first) {
                fill(kept);
            }
            Thread.sleep(50);
        }
    }
}
