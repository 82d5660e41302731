import java.io.File;
import org.jacoco.core.data.ExecutionData;
import org.jacoco.core.data.SessionInfo;
import org.jacoco.core.tools.ExecFileLoader;

/** Prints what JaCoCo's own library reads in an .exec file. */
public class Show {
    public static void main(String[] args) throws Exception {
        var loader = new ExecFileLoader();
        loader.load(new File(args[0]));
        for (SessionInfo s : loader.getSessionInfoStore().getInfos()) {
            System.out.println("session " + s.getId() + " " + s.getStartTimeStamp() + " " + s.getDumpTimeStamp());
        }
        for (ExecutionData d : loader.getExecutionDataStore().getContents()) {
            int hit = 0;
            for (boolean p : d.getProbes()) {
                hit += p ? 1 : 0;
            }
            System.out.println("class " + d.getName() + " " + hit + "/" + d.getProbes().length);
        }
    }
}
