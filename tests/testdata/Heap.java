// Heap FOLDER keeps 20 MiB of its heap, makes garbage all the time, and fills and drops another 120 MiB: at the start, after which there
// is a file FOLDER/filled, and when there is a file FOLDER/fill, which it removes after that.
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
        fill(kept);
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
            Thread.sleep(50);
        }
    }
}
