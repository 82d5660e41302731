package tomcat

// builtinMessage is the text of one key of Tomcat's LocalStrings in one language
// ("" is English).
type builtinMessage struct{ key, lang, text string }

// builtinMessages are the few messages that must be known even if no jar can be
// read; a language without a key falls back to English, as in Tomcat. Those of
// the Tomcat at hand are read from its jars and added to them.
func builtinMessages() []builtinMessage {
	return []builtinMessage{
		{"standardContext.startFailed", "", "Context [{0}] startup failed due to previous errors"},
		{"standardContext.startFailed", "es", "Falló en arranque del Contexto [{0}] debido a errores previos"},
		{"standardContext.startFailed", "fr", "Erreur de démarrage du contexte [{0}] suite aux erreurs précédentes"},
		{"standardContext.startFailed", "ja", "以前のエラーのためにコンテキストの起動が失敗しました [{0}]"},
		{"standardContext.startFailed", "ko", "이전 오류들로 인해 컨텍스트 [{0}]의 시작이 실패했습니다."},
		{"standardContext.startFailed", "zh_CN", "由于之前的错误，Context[{0}]启动失败"},
		{"catalina.startup", "", "Server startup in [{0}] milliseconds"},
		{"catalina.startup", "fr", "Le démarrage du serveur a pris [{0}] millisecondes"},
		{"catalina.startup", "ja", "サーバーの起動 [{0}] ミリ秒"},
		{"catalina.startup", "ko", "서버가 [{0}] 밀리초 내에 시작되었습니다."},
		{"catalina.startup", "zh_CN", "[{0}]毫秒后服务器启动"},
		{"catalina.startup", "", "Server startup in {0} ms"}, // 8.5
		{"lifecycleBase.initFail", "", "Failed to initialize component [{0}]"},
		{"lifecycleBase.initFail", "de", "Konnte Komponente [{0}] nicht initialisieren"},
		{"lifecycleBase.initFail", "es", "Fallo al iniciar el componente [{0}]"},
		{"lifecycleBase.initFail", "fr", "Echec d''initialisation du composant [{0}]"},
		{"lifecycleBase.initFail", "ja", "コンポーネント [{0}] の初期化に失敗しました"},
		{"lifecycleBase.initFail", "ko", "구성요소 [{0}]을(를) 초기화하지 못했습니다."},
		{"lifecycleBase.initFail", "ru", "Ошибка инициализации компонента [{0}]"},
		{"lifecycleBase.initFail", "zh_CN", "初始化组件[{0}]失败。"},
		{"lifecycleBase.startFail", "", "Failed to start component [{0}]"},
		{"lifecycleBase.startFail", "fr", "Echec de démarrage du composant [{0}]"},
		{"lifecycleBase.startFail", "ja", "コンポーネント [{0}] の開始に失敗しました"},
		{"lifecycleBase.startFail", "ko", "구성요소 [{0}]을(를) 시작하지 못했습니다."},
		{"lifecycleBase.startFail", "zh_CN", "无法启动组件[{0}]"},
		{"digester.parseErrorFatal", "", "Parse fatal error at line [{0}] column [{1}]"},
		{"digester.parseErrorFatal", "fr", "Erreur fatale lors de l''analyse à la ligne [{0}] colonne [{1}]"},
		{"digester.parseErrorFatal", "ja", "行[{0}]の列[{1}]で致命的なエラーを解析します。"},
		{"digester.parseErrorFatal", "ko", "[{0}] 행 [{1}] 열에서 심각한 파싱 오류 발생"},
		{"digester.parseErrorFatal", "zh_CN", "分析第[{0}]行第[{1}]列处的致命错误"},
		{"catalina.configFail", "", "Unable to load server configuration from [{0}]"},
		{"catalina.configFail", "es", "No pude cargar la configuración del servidor desde [{0}]"},
		{"catalina.configFail", "fr", "Impossible de charger la configuration du serveur depuis [{0}]"},
		{"catalina.configFail", "ja", "[{0}]からサーバー設定を読み込めません"},
		{"catalina.configFail", "ko", "[{0}](으)로부터 서버 설정을 로드할 수 없습니다."},
		{"catalina.configFail", "zh_CN", "无法从[{0}]加载服务器配置"},
		{"standardContext.listenerStart", "", "Exception sending context initialized event to listener instance of class [{0}]"},
		{"standardContext.filterStart", "", "Exception starting filter [{0}]"},
		{"standardContext.applicationListener", "", "Error configuring application listener of class [{0}]"},
		{"standardContext.loadOnStartup.loadException", "", "Servlet [{1}] in web application [{0}] threw load() exception"},
		{"catalina.serverStartFail", "", "The required Server component failed to start so Tomcat is unable to start."},
		{"hostConfig.deployDir.error", "", "Error deploying web application directory [{0}]"},
		{"hostConfig.deployWar.error", "", "Error deploying web application archive [{0}]"},
		{"hostConfig.deployDescriptor.error", "", "Error deploying deployment descriptor [{0}]"},
		{"standardServer.awaitSocket.fail", "", "Failed to create server shutdown socket on address [{0}] and port [{1}] (base port [{2}] and offset [{3}])"},
	}
}
