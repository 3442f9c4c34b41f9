package sim

// tenantWords and tenantTrades make the names of the invented companies. Every word serves
// one tenant, so there can be as many tenants as words.
var tenantWords = [...]string{
	"aurora", "andes", "pampa", "lumen", "quetzal", "jaguar", "condor", "tucan", "mirador", "brisa",
	"cobre", "litoral", "nopal", "colibri", "cumbre", "dorado", "estrella", "faro", "gaviota", "horizonte",
	"iguazu", "jacaranda", "kantu", "laguna", "maiz", "nube", "oleaje", "puma", "quinoa", "ribera",
	"selva", "tango", "uvita", "vicuna", "yaguar", "zafiro", "alameda", "bahia", "canela", "delta",
	"ebano", "fogata", "girasol", "hornero", "indigo", "jazmin", "kiwi", "lapacho", "mandala", "nativa",
	"obsidiana", "palmera", "quebracho", "rosario", "sabana", "trapiche", "umbral", "valle", "wari", "xilema",
	"yerba", "zorzal", "aguila", "bosque", "ceiba", "duna", "esmeralda", "flamenco", "guarani", "huerta",
	"isla", "jade", "koa", "limon", "manglar", "nevado", "orquidea", "paramo", "quilla", "roble",
	"sauce", "tierra", "ombu", "viento", "wayra", "marea", "arrayan", "zenit", "atlas", "bruma",
	"ceibo", "diamante", "eclipse", "fenix", "glaciar", "hierba", "iris", "jungla", "kolibri", "lucero",
	"mosaico", "norte", "oasis", "pacifico", "quasar", "rayo", "solar", "terral", "urano", "volcan",
	"austral", "boreal", "cascada", "darien", "esquina", "fauna", "gema", "halcon", "inti", "jornada",
	"kayak", "llama", "mistral", "nexo", "origen", "puente", "ruta", "sendero",
}

var tenantTrades = [...]string{"pay", "card", "bank", "wallet", "cash", "money", "go", "one"}

// MaxTenants is the largest number of tenants that a population can have.
const MaxTenants = len(tenantWords)

var merchantWords = [...]string{
	"Sol", "Luna", "Norte", "Central", "Real", "Nuevo", "San Jose", "Santa Rosa", "Plaza", "Avenida",
	"Imperial", "Familiar", "Oriente", "Del Parque", "La Esquina", "El Puente", "Primavera", "Libertad",
	"Colonial", "Moderna", "Don Pedro", "Dona Ana", "Express", "Mayor", "Pacifico", "Atlantico", "Andina",
	"Tropical", "Del Rio", "La Torre", "Buenavista", "Las Flores", "Los Pinos", "El Faro", "Miramar", "Alegre",
}

// globalShops sell to every country from abroad, in US dollars.
var globalShops = [...]struct {
	name      string
	category  string
	recurring bool
}{
	{"NIMBUS STREAM", "streaming", true}, {"TUNEFIELD MUSIC", "streaming", true}, {"CLOUDBOX STORAGE", "software", true},
	{"PIXELFORGE STUDIO", "software", true}, {"CODEHARBOR", "software", true}, {"LINGUAPAL", "software", true},
	{"PLAYDOME GAMES", "games", false}, {"QUESTMINT", "games", false}, {"ARCADIA ONLINE", "games", true},
	{"BAZAARIO", "marketplace", false}, {"GLOBOCART", "marketplace", false}, {"PARCELFOX", "marketplace", false},
	{"THREADLOOM", "clothing", false}, {"SOLEMATE SHOES", "clothing", false}, {"GADGETREEF", "electronics", false},
	{"VOLTMART", "electronics", false}, {"PAGETURNER BOOKS", "books", false}, {"SKYLARK AIR", "airline", false},
	{"JETSTREAM FLIGHTS", "airline", false}, {"INNSPOT HOTELS", "hotel", false}, {"ROAMSTAY", "hotel", false},
	{"RIDELY", "rides", false}, {"ADVERTISIO", "advertising", true}, {"COURSEWELL", "education", false},
}
