"""scikit-learn's own parallel loops over processes of multiprocessing."""

from joblib import parallel_backend
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score


def main():
    data, target = load_iris(return_X_y=True)
    with parallel_backend("multiprocessing"):
        print(cross_val_score(LogisticRegression(max_iter=500), data, target, cv=4, n_jobs=2).tolist())
        forest = RandomForestClassifier(random_state=0, n_estimators=10)
        search = GridSearchCV(forest, {"max_depth": [1, 2, 3]}, cv=3, n_jobs=2).fit(data, target)
        print(search.best_params_, search.best_score_)


if __name__ == "__main__":
    main()
